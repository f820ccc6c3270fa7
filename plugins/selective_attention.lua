-- SPDX-License-Identifier: Apache-2.0
-- Queries, keys and values are scaled by inverse temperatures of the token and of its position, so
-- that how sparse the attention is does not depend on what the tokens mean. `pts` is the released
-- layer: one gain by position.
local lap, nn, pattern = require "lap", require "lib.nn", require "lib.pattern"

local function width(p, x) return x:size "c" / p.num_heads end

-- tau = 1 + [tok] tanh(w . gelu(e)) + [pos] sigmoid(alpha) ln n, [b h n]; part: the projection that
-- is scaled.
local function temperature(g, p, x, part, name)
  local mode, tau = p["temp_" .. name], g:full(1.0, "b n h", part)
  local pre, sizes = ("tau_%s."):format(name), { h = p.num_heads, d = width(p, x) }
  if mode:find "tok" then
    local e = p.share and part or nn.linear(x, pre .. "fc", "c -> (h d)", sizes)
    tau = tau + nn.gelu(e):dot(g:weight(pre .. "w", "h d", sizes), "d"):tanh()
  end
  if mode:find "pos" then
    tau = tau + g:weight(pre .. "alpha", "h", sizes):sigmoid() * (x:index "n" + 1):log()
  end
  return tau
end

local function ssa(g, p, x)
  local sizes = { s = 3, h = p.num_heads, d = width(p, x) }
  local parts = { nn.linear(x, "attn", "c -> (s h d)", sizes, { bias = g:given "attn.bias" }):unstack "s" }
  for i, name in ipairs { "q", "k", "v" } do
    local tau = temperature(g, p, x, parts[i], name)
    g:output("tau_" .. name, tau, "b h n")
    parts[i] = tau * parts[i]
  end
  local q, k, v = parts[1]:queries("n -> m", parts[2], parts[3])
  local seen = p.causal and pattern.causal(q:index "n", k:index "m") or nil
  local score = q:dot(k, "d") * g:number(sizes.d) ^ -0.5
  return g:attend { keys = "m", score = score, value = v, where = seen }.out, "(h d) -> c"
end

-- Position gain only: g_n = 1 + exp(-exp(beta)) ln n.
local function pts(g, p, x)
  local is_fused = p.layout == "fused"
  local groups, d = is_fused and p.num_heads or p.kv_groups, width(p, x)
  local r = p.num_heads // groups
  g:require(g:number(d):ge(p.rope_n_elem), "rope_n_elem exceeds the width of a head")
  local qkv = nn.linear(x, "attn", is_fused and "c -> (t g d)" or "c -> (g t d)",
    { g = groups, t = r + 2, d = d }, { bias = g:given "attn.bias" })
  local function rotary(a)
    if p.rope_n_elem == 0 then return a end
    return nn.rope(a, a:index "n", 10000, { part = p.rope_n_elem })
  end
  local q, k, v = rotary(qkv:slice("t", 0, r):as "t -> r"), rotary(qkv:at("t", r)), qkv:at("t", r + 1)
  q, k, v = q:queries("n -> m", k, v)
  local n = q:index "n"
  local gain = 1 + (-g:weight("beta", "1"):exp()):exp() * (n + 1):log()
  g:output("tau_q", gain, "n")
  local score = q:dot(k, "d") * g:number(d) ^ -0.5 * gain
  local seen = pattern.causal(n, k:index "m")
  return g:attend { keys = "m", score = score, value = v, where = seen }.out, "(g r d) -> c"
end

local modes = { "none", "tok", "pos", "tok+pos" }
return {
  name = "selective_attention", family = "attention",
  paper = "Selective Attention: Enhancing Transformer through Principled Context Control",
  doc = "attention with temperatures of tokens and positions",
  reference = "pts: umich-sota/selective_attention, lit_gpt (Apache-2.0); ssa: equations",
  params = {
    variant = { "enum", { "ssa", "pts" }, "ssa", "the paper's layer or the released one" },
    num_heads = { "int", 12, "heads", min = 1 },
    share = { "bool", true, "ssa: the projection itself is the token's feature" },
    temp_q = { "enum", modes, "tok+pos", "ssa: temperature of the queries" },
    temp_k = { "enum", modes, "none", "ssa: temperature of the keys" },
    temp_v = { "enum", modes, "tok", "ssa: temperature of the values" },
    causal = { "bool", true, "ssa: no key after the query" },
    layout = { "enum", { "fused", "grouped" }, "fused", "pts: channels by part, or by key head" },
    kv_groups = { "int", function(p) return p.num_heads end, "pts, grouped: key heads", min = 1 },
    rope_n_elem = { "int", 0, "pts: turned channels of a head, even", min = 0 },
  },
  dims = { B = 1, N = 1024, C = 768 },
  refuse = function(p)
    if p.num_heads % p.kv_groups ~= 0 then return "kv_groups must divide num_heads" end
    if p.rope_n_elem % 2 ~= 0 then return "rope_n_elem must be even" end
  end,
  inputs = { x = "b n c" },
  build = function(g, p, t)
    local C = t.x:size "c"
    g:require((g:number(C) % p.num_heads):eq(0), "num_heads must divide the width of x")
    local o, spec = (p.variant == "pts" and pts or ssa)(g, p, t.x)
    g:output("out", nn.linear(o, "proj", spec, { c = C }, { bias = g:given "proj.bias" }), "b n c")
  end,
}
