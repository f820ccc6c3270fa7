-- SPDX-License-Identifier: Apache-2.0
-- decoder.lua: a language model's stack (lib/stack.lua) over a prompt, then over single tokens with
-- a cache, open where the heads attend and at the feed-forward part. cache[i]: the segments of keys
-- and values of layer i.
local lap, nn, stack = require "lap", require "lib.nn", require "lib.stack"
local decoder = {}

-- The parameters of such a stack, and those of the pattern; p.n_kv_heads, p.decode_steps where it has them.
function decoder.params(more)
  local all = {
    dim = { "int", 16, "channels", min = 1 },
    n_heads = { "int", 4, "heads", min = 1 },
    ffn_dim = { "int", 24, "hidden width", min = 1 },
    n_layers = { "int", 5, "layers", min = 1, max = 128 },
    rms_eps = { "float", 1e-6, "of the norms" },
    rope_theta = { "float", 1e4, "base of the rotary embedding" },
  }
  for name, row in pairs(more) do all[name] = row end
  return all
end
-- What `lappet bench` runs: a few layers, of the widths of a small language model, on an image of 24 x 24
-- patches. more: the pattern's own.
function decoder.bench(more)
  local all = { dim = 1024, n_heads = 16, ffn_dim = 2816, n_layers = 4 }
  for name, value in pairs(more) do all[name] = value end
  return all
end
decoder.n_kv_heads = { "int", 4, "key heads", min = 1 }
decoder.decode_steps = { "int", 0, "cached steps after the prompt", min = 0, max = 64 }
function decoder.n_sys(n) return { "int", n, "tokens before the image", min = 0 } end
function decoder.n_visual(n) return { "int", n, "visual tokens", min = 1 } end

function decoder.refuse(p)
  if p.dim % p.n_heads ~= 0 then return "dim must be a multiple of n_heads" end
  if p.dim // p.n_heads % 2 ~= 0 then return "dim/n_heads, the width of a head, must be even" end
  if p.n_kv_heads and p.n_heads % p.n_kv_heads ~= 0 then return "n_kv_heads must divide n_heads" end
end
-- Inputs of a stack that also decodes; more: those of the pattern.
function decoder.inputs(more)
  return function(p)
    local all = { embeds = "b n c=dim" }
    all.decode_embeds = p.decode_steps > 0 and "b t=decode_steps c=dim" or "? b t c=dim"
    for name, layout in pairs(more or {}) do all[name] = layout end
    return all
  end
end

-- The image must lie inside the sequence of N tokens, with `behind` tokens or more after it.
function decoder.room(g, p, N, visual, behind)
  local message = "embeds must hold n_sys = %d tokens, %d visual ones and at least %d behind them"
  g:require(g:number(N):ge(p.n_sys + visual + behind), message:format(p.n_sys, visual, behind))
end
function decoder.span(from, count) return function(i) return i:ge(from) & i:lt(from + count) end end

function decoder.scale(p) return (p.dim // p.n_heads) ^ -0.5 end
-- Layer i's parts of attention for x [b n c] at positions pos: one for each segment of cache[i],
-- the prompt's (causal) first, x's own last. Also the queries [b n g r d].
function decoder.parts(p, i, x, pos, cache)
  local q, k, v = stack.qkv(x, ("layers.%d."):format(i), p, pos)
  q, k, v = q:queries("n -> m", k, v)
  cache[i] = cache[i] or {}
  table.insert(cache[i], { k = k, v = v })
  local parts = {}
  for a, segment in ipairs(cache[i]) do
    parts[a] = { keys = "m", score = q:dot(segment.k, "d") * decoder.scale(p), value = segment.v }
  end
  if #parts == 1 then parts[1].where = k:index "m":le(q:index "n") end
  return parts, q
end
-- The rest of layer i behind the heads' outputs [b n g r d]; mlp(y, prefix) stands in for the plain one.
function decoder.rest(p, i, x, heads, mlp)
  return stack.finish(x, heads, ("layers.%d."):format(i), p, mlp)
end
-- A whole layer. o.attend(parts, q) gives the heads' outputs; o.mlp.
function decoder.layer(g, p, i, x, pos, cache, o)
  o = o or {}
  local parts, q = decoder.parts(p, i, x, pos, cache)
  local heads = o.attend and o.attend(parts, q) or g:attend { parts = parts }.out
  return decoder.rest(p, i, x, heads, o.mlp)
end

function decoder.norm(p, x) return nn.rmsnorm(x, "norm", "c", p.rms_eps) end
-- Outputs `hidden` and `logits_last` of the last state.
function decoder.finish(g, p, x)
  local hidden = decoder.norm(p, x)
  g:output("hidden", hidden, "b n c")
  g:output("logits_last", stack.logits(hidden:at("n", x:size "n" - 1)), "b o")
end
-- Output `decode_hidden`: layer(i, y, s) runs layer i on the one token of step s.
function decoder.decode(g, p, embeds, layer)
  local steps = {}
  for s = 0, p.decode_steps - 1 do
    local y = embeds:slice("t", s, 1):as "t -> n"
    for i = 0, p.n_layers - 1 do y = layer(i, y, s) end
    steps[s + 1] = decoder.norm(p, y)
  end
  if #steps > 0 then g:output("decode_hidden", lap.cat("n", steps), "b n c") end
end

return decoder
