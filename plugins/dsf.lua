-- SPDX-License-Identifier: Apache-2.0
-- Attention, linear attention, state space models and recurrent networks as one system:
-- h_n = lam_n h_(n-1) + b_n z_n, y_n = c_n h_n + D z_n, or y = phi z with a triangular matrix phi.
local lap, nn = require "lap", require "lib.nn"

-- The axes of a state are those of lam, b and z but n; the read-out sums over "s" where there is one.
local function system(lam, b, c, z)
  local axes, known = {}, { n = true }
  for _, x in ipairs { lam, b, z } do
    for _, axis in ipairs(x:axes()) do
      if not known[axis] then axes[#axes + 1], known[axis] = axis, true end
    end
  end
  local r = b.g:scan {
    along = "n", state = { h = b.g:zeros(table.concat(axes, " "), lam, b, z) },
    inputs = { lam = lam, b = b, c = c, z = z },
    body = function(last, t)
      local h = t.lam * last.h + t.b * t.z
      return { h = h }, { y = h:has "s" and t.c:dot(h, "s") or t.c * h }
    end,
  }
  return r.y, r.last_h
end
-- phi[n, j]: the answer at time n to a unit pulse at time j.
local function matrix(m)
  local n = m.b:index "n"
  local pulse = lap.where(n:eq(n:as "n -> j"), 1.0, 0.0)
  local phi = system(m.lam, m.b, m.c, pulse)
  return m.skip and phi + m.skip * pulse or phi
end
local function outputs(g, m, out, phi, state)
  local y, h = system(m.lam, m.b, m.c, m.z)
  g:output("out", m.skip and y + m.skip * m.z or y, out)
  g:output("phi", matrix(m), phi)
  g:output("state", h, state)
end

local function linear(t, name, to, sizes)
  return nn.linear(t.u, name, "c -> " .. to, sizes, { bias = false })
end
local function qkv(p, t)
  local s = { h = p.num_heads, s = p.key_dim, e = p.value_dim }
  return linear(t, "q", "(h s)", s), linear(t, "k", "(h s)", s), linear(t, "v", "(h e)", s)
end
local function unit(x) return x.g:full(1.0, "n", x) end

local variant = {}

-- 1, x, x (x) x / sqrt 2!, ..: the product of two such is the Taylor polynomial of exp.
local function taylor(x, order)
  local power = x.g:full(1.0, "b n h", x):unit "s"
  local parts = { power }
  for m = 1, order do
    power = (power:as "s -> f" * x):merge "f s -> s" / math.sqrt(m)
    parts[m + 1] = power
  end
  return lap.cat("s", parts)
end
function variant.softmax(g, p, t)
  local q, k, v = qkv(p, t)
  local fq, fk = taylor(q * p.key_dim ^ -0.25, p.order), taylor(k * p.key_dim ^ -0.25, p.order)
  local one = unit(v)
  local taylor_out = system(one, fk, fq, v) / system(one, fk, fq, one)
  q, k, v = q:queries("n -> j", k, v)
  local a = g:attend { keys = "j", score = q:dot(k, "s") * p.key_dim ^ -0.5, value = v,
    where = k:index "j":le(q:index "n") }
  g:output("out", a.out, "b n (h e)")
  g:output("phi", a.weights, "b h n j")
  g:output("out_taylor", taylor_out, "b n (h e)")
  g:output("state_size", g:number(fk:size "s"), "1")
end

-- h = sum of k v / eta_n: the step lam is the ratio of two normalisers.
local function normalised(g, q, k, v, eta)
  local n = eta:index "n"
  local lam = lap.where(n:eq(0), 0.0, eta:at("n", (n - 1):atleast(0)) / eta)
  g:output("lam", lam, "b h n")
  outputs(g, { lam = lam, b = k / eta, c = q, z = v }, "b n (h e)", "b h n j", "b h s e")
end
function variant.linear_attention(g, p, t)
  local q, k, v = qkv(p, t)
  local function psi(x) return nn.elu(x) + 1 end
  normalised(g, psi(q), psi(k), v, system(unit(v), psi(k), psi(q), unit(v)))
end
local positive = { exp = function(x) return x:exp() end, softplus = nn.softplus, sigmoid = nn.sigmoid }
function variant.normalized_attention(g, p, t)
  local q, k, v = qkv(p, t)
  normalised(g, q, k, v, positive[p.eta](nn.linear(t.u, "eta", "c -> h", { h = p.num_heads })))
end

function variant.s6(g, p, t)
  local s = { c = t.u:size "c", s = p.state_dim }
  local dt, rate = nn.softplus(nn.linear(t.u, "dt", "c -> c")), g:weight("A_log", "c s", s):exp()
  outputs(g, { lam = (-dt * rate):exp(), b = dt * linear(t, "b", "s", s), c = linear(t, "c", "s", s),
    z = t.u, skip = g:weight("D", "c", s) }, "b n c", "b c n j", "b c s")
end
function variant.ssd(g, p, t)
  local s = { h = p.num_heads, s = p.state_dim, e = p.value_dim }
  local dt = nn.softplus(nn.linear(t.u, "dt", "c -> h", s))
  local lam = (-dt * g:weight("A_log", "h", s):exp()):exp()
  outputs(g, { lam = lam, b = dt * linear(t, "b", "(h s)", s), c = linear(t, "c", "(h s)", s),
    z = linear(t, "v", "(h e)", s) }, "b n (h e)", "b h n j", "b h s e")
end
function variant.qlstm(g, p, t)
  local function gate(name) return nn.linear(t.u, name, "c -> e", { e = p.hidden_dim }) end
  local z = p.cell_act == "tanh" and gate "z":tanh() or gate "z"
  outputs(g, { lam = gate "f":sigmoid(), b = gate "i":sigmoid(), c = gate "o":sigmoid(), z = z },
    "b n e", "b e n j", "b e")
end
function variant.generic(g, _, t) outputs(g, t, "b n e", "b n j", "b s e") end

local names = { "softmax", "linear_attention", "normalized_attention", "s6", "ssd", "qlstm", "generic" }
return {
  name = "dsf", family = "state space",
  paper = "Understanding the differences in Foundation Models: Attention, State Space Models, and "
    .. "Recurrent Neural Networks",
  doc = "seven causal sequence mixers as one linear system, run and as a matrix",
  reference = "equations; expected values from the matrix form",
  params = {
    variant = { "enum", names, "linear_attention", "which mixer" },
    num_heads = { "int", 8, "heads of the attentions and of ssd", min = 1 },
    key_dim = { "int", 64, "attentions: width of queries and keys", min = 1 },
    value_dim = { "int", 64, "attentions, ssd, generic: width of values", min = 1 },
    order = { "int", 2, "softmax: order of the Taylor polynomial, even", min = 0 },
    eta = { "enum", { "exp", "softplus", "sigmoid" }, "exp", "of the learned normaliser" },
    state_dim = { "int", 16, "s6, ssd, generic: states", min = 1 },
    hidden_dim = { "int", 512, "qlstm: width", min = 1 },
    cell_act = { "enum", { "none", "tanh" }, "none", "qlstm: of the cell's input" },
  },
  dims = { B = 1, L = 512, C = 512 },
  refuse = function(p)
    if p.order % 2 == 1 then return "order must be even: an odd one can give a kernel of zero" end
    if p.variant == "softmax" and p.order * math.log(p.key_dim) > math.log(1e6) then
      return "key_dim^order is more than a million states"
    end
  end,
  inputs = function(p)
    if p.variant ~= "generic" then return { u = "b=B n=L c=C" } end
    local vector = "b=B n=L s=state_dim"
    return { lam = vector, b = vector, c = vector, z = "b=B n=L e=value_dim" }
  end,
  build = function(g, p, t)
    g:require(g:number((t.u or t.z):size "n"):ge(1), "the sequence is empty")
    variant[p.variant](g, p, t)
  end,
}
