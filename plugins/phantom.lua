-- SPDX-License-Identifier: Apache-2.0
-- Heads of twice the width during attention: the second half of queries, keys and values looks from
-- a token's heads at the heads of one phantom token. A gate blends the two halves of the result.
-- po_loss: the loss that trains it.
local lap, nn = require "lap", require "lib.nn"

-- The heads of t look at the heads of the phantom token s; one matrix for all heads.
local function across_heads(g, p, t, s, name)
  local pre = ("xattn_%s_phantom.linear_"):format(name)
  local function layer(a, which)
    return nn.gelu(nn.linear(a, pre .. which, "d -> d", nil, { bias = false }))
  end
  local k, u = layer(s, "k"):as "g r -> sg sr", layer(s, "v"):as "g r -> sg sr"
  local score = layer(t, "q"):dot(k, "d") * g:number(t:size "d") ^ -0.5
  return p.eta * layer(g:attend { keys = "sg sr", score = score, value = u }.out, "o")
end

-- Tokens x [.. c] at positions pos: q [.. g r d], k and v [.. g d].
local function project(p, x, pos)
  local sizes = { g = p.num_kv_heads, r = p.num_heads // p.num_kv_heads, d = x:size "c" / p.num_heads }
  local q, k = nn.linear(x, "q_proj", "c -> (g r d)", sizes), nn.linear(x, "k_proj", "c -> (g d)", sizes)
  return { q = nn.rope(q, pos, p.rope_theta), k = nn.rope(k, pos, p.rope_theta),
    v = nn.linear(x, "v_proj", "c -> (g d)", sizes) }
end

-- Queries q at positions pos on keys k, v [b m g d]; star: q, k, v of the phantom token, at place `first`.
local function attend(g, p, q, pos, k, v, star, first)
  local sizes = { g = q:size "g", r = q:size "r", d = q:size "d" }
  local d = sizes.d
  local function repeated(a) return a + g:zeros("r", sizes) end   -- to all heads of a group
  local function phantom(t, name, s) return across_heads(g, p, t, repeated(s), name) end
  k, v = repeated(k), repeated(v)
  local score = q:dot(k, "d") + phantom(q, "query", star.q):dot(phantom(k, "key", star.k), "d")
  local m = k:index "m"
  local a = g:attend { keys = "m", score = score * g:number(d) ^ -0.5, where = m:le(pos) & m:ge(first),
    value = lap.stack("half", { v, v + phantom(v, "value", star.v) }) }
  local one, two = a.out:unstack "half"
  local function logit(i, o) return nn.linear(o, "gating_phantom_" .. i, "d -> w", { w = 1 }):at("w", 0) end
  local gate = (logit(1, one) - logit(2, two)):sigmoid()
  local y = gate * one + (1 - gate) * two
  local width = { c = d * p.num_heads }
  local out = nn.linear(y, "o_proj", "(g r d) -> c", width, { bias = false })
  local is_real = pos:ge(first)
  return lap.where(is_real, out, 0), lap.where(is_real, gate, 0)
end

-- Tokens from `done` on, one by one, with the keys and values so far in a cache.
local function decode(g, p, x, done, T, star, first)
  local N = x:size "n"
  local late = x:slice("n", done, N - done)
  local function cache(a) return a:as "n -> m":pad("m", 0, N - done) end
  return g:scan { along = "n", inputs = { x = late, pos = late:index "n" + done },
    state = { k = cache(T.k), v = cache(T.v) }, body = function(s, token)
      local new = project(p, token.x, token.pos)
      local is_here = s.k:index "m":eq(token.pos)
      s = { k = lap.where(is_here, new.k, s.k), v = lap.where(is_here, new.v, s.v) }
      local out, gate = attend(g, p, new.q, token.pos, s.k, s.v, star, first)
      return s, { out = out, gate = gate }
    end }
end

local function attention(g, p, t)
  local x, first, N = t.x, t.phantom_index, t.x:size "n"
  local done = p.prefill > 0 and p.prefill or N
  g:require((g:number(x:size "c") % (2 * p.num_heads)):eq(0),
    "the width of x must be an even multiple of num_heads")
  g:require(first:ge(0) & first:lt(N), "phantom_index lies outside the sequence")
  if p.prefill > 0 then
    g:require(first:eq(0), "prefill does not go together with padding: phantom_index must be 0")
    g:require(g:number(N):ge(done), "prefill exceeds the sequence")
  end
  local now = x:slice("n", 0, done)
  local T, star = project(p, now, now:index "n"), {}
  for name, a in pairs(T) do star[name] = a:at("n", first) end
  local k, v = T.k:as "n -> m", T.v:as "n -> m"
  local out, gate = attend(g, p, T.q, now:index "n", k, v, star, first)
  if p.prefill > 0 then
    local steps = decode(g, p, x, done, T, star, first)
    out, gate = lap.cat("n", { out, steps.out }), lap.cat("n", { gate, steps.gate })
  end
  g:output("out", out, "b n c")
  g:output("gate", gate, "b n (g r)")
end

local function po_loss(g, p, t)
  local m = {}                                     -- mean log-likelihood of an answer
  for _, s in ipairs { "pos", "neg" } do
    local mask = t["mask_" .. s]
    g:require(mask:sum "n":gt(0), ("a row of mask_%s is empty"):format(s))
    m[s] = (t["logits_" .. s]:log_softmax "v":at("v", t["labels_" .. s]) * mask):sum "n" / mask:sum "n"
    g:output("reward_" .. s, p.beta * m[s], "b")
  end
  local margin = p.beta * (m.pos - m.neg) - p.gamma
  g:output("loss", (nn.softplus(-margin) - m.pos):mean "b", "1")
end

return {
  name = "phantom", family = "attention",
  doc = "attention with heads of twice the width by one phantom token",
  paper = "Phantom of Latent for Large Language and Vision Models",
  reference = "ByungKwanLee/Phantom, modeling_qwen2.py, utils.py (MIT); po_loss: equations",
  params = {
    variant = { "enum", { "attention", "po_loss" }, "attention", "the layer or the loss" },
    num_heads = { "int", 14, "query heads", min = 1 },
    num_kv_heads = { "int", 2, "key heads", min = 1 },
    eta = { "float", 1e-4, "factor of the phantom part" },
    rope_theta = { "float", 1e4, "base of the rotary embedding" },
    prefill = { "int", 0, "tokens at once before the others one by one; 0 = all", min = 0 },
    beta = { "float?", nil, "po_loss: reward of a likelihood" },
    gamma = { "float?", nil, "po_loss: margin" },
  },
  dims = { B = 1, N = 512, C = 896, V = 1024 },
  refuse = function(p)
    if p.num_heads % p.num_kv_heads ~= 0 then return "num_kv_heads must divide num_heads" end
    if p.variant == "po_loss" and not (p.beta and p.gamma) then return "po_loss needs beta and gamma" end
  end,
  inputs = function(p)
    if p.variant == "attention" then return { x = "b n c", phantom_index = "int b" } end
    local all = {}
    for _, s in ipairs { "pos", "neg" } do
      all["logits_" .. s], all["labels_" .. s], all["mask_" .. s] = "b n v", "int b n", "int b n"
    end
    return all
  end,
  build = function(g, p, t) return (p.variant == "attention" and attention or po_loss)(g, p, t) end,
}
