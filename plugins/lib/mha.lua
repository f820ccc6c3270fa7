-- SPDX-License-Identifier: Apache-2.0
-- mha.lua: multi-head attention with the weight names of torch.nn.MultiheadAttention.
local lap, linear = require "lap", require "lib.linear"
local mha = {}

-- x [.. tokens c] attends to itself, or to o.memory [.. tokens c]. pre: prefix of the weight names,
-- "self_attn.". o.tokens, o.features: axis names, "n" and "c" unless said. o.keys: the token axes
-- of the memory, where they are others than those of x; o.values: what is averaged in its place.
-- o.where: the keys that are seen, a function of the places i and j or a condition. o.bias = false.
-- Results: out, and the weights over the axes h, tokens and keys.
function mha.mha(x, pre, heads, o)
  o = o or {}
  local n, c, keys = o.tokens or "n", o.features or "c", o.keys or lap.axis "key"
  local part, h, d = lap.axis "part", lap.axis "h", lap.axis "d"
  local width = x:size(c)
  local sizes = { [part] = 3, [h] = heads, [d] = width / heads, [c] = width }
  local rows = ("(%s %s %s)"):format(part, h, d)
  local W = x.g:weight(pre .. "in_proj_weight", rows .. " " .. c, sizes)
  local b = o.bias ~= false and x.g:weight(pre .. "in_proj_bias", rows, sizes)
  local function project(a, which)
    local y = a:dot(W:at(part, which), c)
    return b and y + b:at(part, which) or y
  end
  local memory = o.memory or x
  local q, k, v = project(x, 0), project(memory, 1), project(o.values or memory, 2)
  if not o.keys then k, v = k:as(n .. " -> " .. keys), v:as(n .. " -> " .. keys) end
  local seen = o.where
  if type(seen) == "function" then seen = seen(q:index(n), k:index(keys)) end
  local score = q:dot(k, d) * x.g:number(width / heads) ^ -0.5
  local a = x.g:attend { keys = keys, score = score, where = seen, value = v }
  local out = linear.linear(a.out, pre .. "out_proj", ("(%s %s) -> %s"):format(h, d, c), sizes,
    { bias = o.bias })
  return out, a, { heads = h, keys = keys }
end

return mha
