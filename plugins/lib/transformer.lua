-- SPDX-License-Identifier: Apache-2.0
-- transformer.lua: the post-norm stacks of torch.nn.TransformerEncoder and TransformerDecoder, with the
-- weight names of their layers. Features are on axis e. s: width, heads, ffn, eps, layers.
local nn = require "lib.nn"
local transformer = {}

-- Queries, keys and values (0, 1, 2) of torch's packed projection, over the axes h d.
local function projection(g, s, pre)
  local sizes = { s = 3, h = s.heads, d = s.width // s.heads, e = s.width }
  local W = g:weight(pre .. "in_proj_weight", "(s h d) e", sizes)
  local b = g:weight(pre .. "in_proj_bias", "(s h d)", sizes)
  return function(x, i) return x:dot(W:at("s", i), "e") + b:at("s", i) end
end
local function attend(g, s, q, k, v, keys, see, pre)
  local score = q:dot(k, "d") * (s.width // s.heads) ^ -0.5
  local o = g:attend { keys = keys, score = score, value = v, where = see }.out
  return nn.linear(o, pre .. "out_proj", "(h d) -> e", { e = s.width })
end
local function norm(s, x, name) return nn.layernorm(x, name, "e", s.eps) end
local function feed_forward(s, x, pre)
  local u = nn.relu(nn.linear(x, pre .. "linear1", "e -> f", { f = s.ffn }))
  return nn.linear(u, pre .. "linear2", "f -> e", { e = s.width })
end

-- x [.. tokens e] attends to itself over the axis `tokens`.
function transformer.encoder(x, pre, s, tokens)
  for i = 0, s.layers - 1 do
    local at = ("%slayers.%d."):format(pre, i)
    local a = nn.mha(x, at .. "self_attn.", s.heads, { tokens = tokens, features = "e" })
    x = norm(s, x + a, at .. "norm1")
    x = norm(s, x + feed_forward(s, x, at), at .. "norm2")
  end
  return x
end
-- y [.. e] attends to past(i, k, v) -> keys and values of layer i on axis j and which of them are seen
-- (k, v: those of y), and to memory over its axis `tokens`.
function transformer.decoder(y, memory, pre, s, tokens, past)
  local g = y.g
  for i = 0, s.layers - 1 do
    local at = ("%slayers.%d."):format(pre, i)
    local own, cross = at .. "self_attn.", at .. "multihead_attn."
    local from_y, from_memory = projection(g, s, own), projection(g, s, cross)
    local k, v, see = past(i, from_y(y, 1), from_y(y, 2))
    y = norm(s, y + attend(g, s, from_y(y, 0), k, v, "j", see, own), at .. "norm1")
    k, v = from_memory(memory, 1), from_memory(memory, 2)
    y = norm(s, y + attend(g, s, from_memory(y, 0), k, v, tokens, nil, cross), at .. "norm2")
    y = norm(s, y + feed_forward(s, y, at), at .. "norm3")
  end
  return y
end

return transformer
