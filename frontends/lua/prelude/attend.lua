-- SPDX-License-Identifier: Apache-2.0
-- attend.lua: attention over a union of key sets under one normaliser.
local prim = ...
local lap, V, G, fail = prim.lap, prim.V, prim.G, prim.say

-- Fields of an operation with several results, made when first asked for.
function prim.fields(node, known)
  return setmetatable({}, { __index = function(t, which)
    if not prim.has(known, which) then
      fail("no result '%s'%s", tostring(which), prim.hint(tostring(which), known))
    end
    local v = prim.result(node, which)
    rawset(t, which, v)
    return v
  end })
end

local part_keys = { keys = 1, score = 1, value = 1, where = 1, after = 1 }
local shared_keys = { norm = 1, empty = 1, eps = 1, parts = 1 }
local function check_keys(o, also)
  for _, k in ipairs(prim.sorted(o)) do
    if not part_keys[k] and not (also and shared_keys[k]) then
      local known = prim.sorted(part_keys)
      for _, n in ipairs(also and prim.sorted(shared_keys) or {}) do known[#known + 1] = n end
      fail("attend has no '%s'%s", k, prim.hint(k, known))
    end
  end
end

-- out[i] = sum over keys of weigh(score[i, j]) * value[j]. Results: out, lse, max, sum, weights
-- (weights2, ... of further parts).
function G:attend(o)
  check_keys(o, true)
  if o.parts then
    for _, p in ipairs(o.parts) do check_keys(p) end
  end
  local args, parts, known = {}, {}, { "lse", "max", "sum", "out" }
  local function operand(x)
    if x == nil then return nil end
    args[#args + 1] = x
    return #args - 1
  end
  for i, p in ipairs(o.parts or { o }) do
    if p.keys == nil then fail("attend needs the key axes: keys = \"j\"") end
    if p.score == nil then fail("attend needs a score") end
    parts[i] = { keys = prim.words(p.keys), score = operand(p.score), where = operand(p.where),
      after = operand(p.after), value = operand(p.value) }
    known[#known + 1] = i == 1 and "weights" or "weights" .. i
  end
  if #parts == 0 then fail("attend needs a part") end
  local node = prim.emit("attend", args,
    { parts = parts, norm = o.norm or "softmax", empty = o.empty or 0.0, eps = o.eps })
  prim.look_attend(node)
  return prim.fields(node, known)
end
