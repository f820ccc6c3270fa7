-- SPDX-License-Identifier: Apache-2.0
-- neox.lua: the GPT-NeoX stack with caches of several segments.
local lap, nn = require "lap", require "lib.nn"
local neox = {}

local function layer(g, x, pre, s, o)
  local d, eps = s.hidden // s.heads, s.eps
  local sizes = { s = 3, h = s.heads, d = d, c = s.hidden, f = s.inter }
  local function rotary(a)
    if s.rotary == 0 then return a end
    return nn.rope(a, o.pos, s.base, s.rotary < d and { part = s.rotary } or nil)
  end
  local z = nn.layernorm(x, pre .. "input_layernorm", "c", eps)
  local qkv = nn.linear(z, pre .. "attention.query_key_value", "c -> (h s d)", sizes)
  local q, k, v = qkv:unstack "s"
  q, k = rotary(q), rotary(k)
  table.insert(o.cache, { k = k:as "n -> m", v = v:as "n -> m", see = o.see })
  local parts = {}
  for a, segment in ipairs(o.cache) do
    local is_past = a < #o.cache
    parts[a] = { keys = "m", score = q:dot(segment.k, "d") * d ^ -0.5, value = segment.v,
      where = segment.see(q:index "n", segment.k:index "m", is_past) }
  end
  local y = nn.linear(g:attend { parts = parts }.out, pre .. "attention.dense", "(h d) -> c", sizes)
  local function feed_forward(a)
    a = nn.layernorm(a, pre .. "post_attention_layernorm", "c", eps)
    a = nn.gelu(nn.linear(a, pre .. "mlp.dense_h_to_4h", "c -> f", sizes))
    return nn.linear(a, pre .. "mlp.dense_4h_to_h", "f -> c", sizes)
  end
  if s.is_parallel then return x + y + feed_forward(x) end
  x = x + y
  return x + feed_forward(x)
end

-- x [.. n c]. s: hidden, heads, layers, inter, rotary (turned channels), base, eps, is_parallel.
-- pos: positions of the tokens. see(i, j, is_past): the keys j of this call's segment that a query
-- i sees, in this call or, is_past, in a later one. cache: per layer the segments so far, extended.
function neox.stack(g, x, pre, s, pos, cache, see)
  for i = 0, s.layers - 1 do
    cache[i] = cache[i] or {}
    x = layer(g, x, ("%slayers.%d."):format(pre, i), s, { pos = pos, cache = cache[i], see = see })
  end
  return nn.layernorm(x, pre .. "final_layer_norm", "c", s.eps)
end

-- The keys ("k") or values ("v") of all segments, [.. l .. m ..]; zero in the first where not live.
function neox.cached(cache, which, live)
  local layers = {}
  for i = 0, #cache do
    local segments = { lap.where(live, cache[i][1][which], 0.0) }
    for a = 2, #cache[i] do segments[a] = cache[i][a][which] end
    layers[i + 1] = lap.cat("m", segments)
  end
  return lap.stack("l", layers)
end

return neox
