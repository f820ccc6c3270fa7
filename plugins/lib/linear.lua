-- SPDX-License-Identifier: Apache-2.0
-- linear.lua: layers whose weights mix feature axes. Names of weights follow the checkpoint, the
-- layout says what each of their axes means.
local lap, names, act = require "lap", require "lib.names", require "lib.activation"
local linear = {}

-- y[.., to] = sum over from of W[to, from] x[.., from] + b[to]; spec "c -> (s h d)", "c -> c".
-- sizes: of axes that x lacks. o.bias = false; o.suffix: of the weight's name; o.tail: more axes of
-- the weight, "1 1" of a convolution; o.groups: axes of x with layers of their own, slowest in to.
function linear.linear(x, name, spec, sizes, o)
  o = o or {}
  local from, to = names.arrow(spec)
  local gone = names.list(from)
  local made, old, new = names.fresh(x, to)
  local s = names.sizes(x, from)
  local into = names.sizes(x, to, sizes)
  for n, size in pairs(into) do s[n] = s[n] or size end
  for i, n in ipairs(old) do s[new[i]] = into[n] end
  for n, size in pairs(names.sizes(x, o.groups)) do s[n] = size end
  if o.groups then made = names.group(o.groups .. " " .. names.plain(made)) end
  local layout = made .. " " .. from .. (o.tail and " " .. o.tail or "")
  local y = x:dot(x.g:weight(name .. (o.suffix or ".weight"), layout, s), table.concat(gone, " "))
  if o.bias ~= false then y = y + x.g:weight(name .. ".bias", made, names.sizes(y, made)) end
  if #old == 0 then return y end
  return y:as(table.concat(new, " ") .. " -> " .. table.concat(old, " "))
end
function linear.conv1x1(x, name, spec, sizes, o)
  local t = { tail = "1 1" }
  for k, v in pairs(o or {}) do t[k] = v end
  return linear.linear(x, name, spec, sizes, t)
end

-- The rows of a table named by integers: ids [.., ] -> [.., c]; spec "w c".
function linear.embedding(ids, name, spec, sizes)
  local row = names.list(spec)[1]
  local rows = ids.g:weight(name .. ".weight", spec, sizes)
  return rows:at(row, ids)
end
-- torch.gather: the element that `index` names along an axis.
function linear.gather(x, axis, index) return x:at(axis, index) end
function linear.chunk(x, axis, n)                  -- n equal parts of an axis
  local part = lap.axis "part"
  return x:split(axis .. " -> " .. part .. " " .. axis, { [part] = n }):unstack(part)
end

-- einsum("b n d, b m d -> b n m", q, k): sums what the result does not name. The axes are those of
-- the values, so that the text is also checked.
function linear.einsum(spec, ...)
  local from, to = names.arrow(spec)
  local parts, product, keep, over = { ... }, nil, {}, {}
  for _, n in ipairs(names.list(to)) do keep[n] = true end
  local i = 0
  for operand in (from .. ","):gmatch "(.-)," do
    i = i + 1
    local x = parts[i] or lap.fail(("einsum '%s' needs an operand %d"):format(spec, i))
    local axes = names.list(operand)
    for _, n in ipairs(axes) do
      x:size(n)
      if not keep[n] then keep[n], over[#over + 1] = true, n end
    end
    if #axes ~= #x:axes() then
      lap.fail(("einsum '%s': operand %d has the axes '%s'"):format(spec, i,
        table.concat(x:axes(), " ")))
    end
    product = product and product * x or x
  end
  if i ~= #parts then
    lap.fail(("einsum '%s' takes %d operands, found %d"):format(spec, i, #parts))
  end
  return #over > 0 and product:sum(table.concat(over, " ")) or product
end

function linear.mlp(x, fc1, fc2, hidden, o)        -- on axis c
  local f = lap.axis "f"
  local h = linear.linear(x, fc1, "c -> " .. f, { [f] = hidden }, o)
  return linear.linear(act.gelu(h), fc2, f .. " -> c", { c = x:size "c" }, o)
end
function linear.swiglu(x, name, hidden)            -- on axis c, the names of LLaMA
  local f, o = lap.axis "f", { bias = false }
  local s = { [f] = hidden, c = x:size "c" }
  local gate = linear.linear(x, name .. "gate_proj", "c -> " .. f, s, o)
  local up = linear.linear(x, name .. "up_proj", "c -> " .. f, s, o)
  return linear.linear(act.silu(gate) * up, name .. "down_proj", f .. " -> c", s, o)
end
-- Squeeze-excite before its sigmoid: fc2(relu(fc1(mean of x over `over`))); spec "c -> r".
function linear.squeeze_excite(x, over, fc1, fc2, spec, width, o)
  local c, hidden = spec:match "(%S+)%s*%->%s*(%S+)"
  local h = act.relu(linear.linear(x:mean(over), fc1, spec, { [hidden] = width }, o))
  return linear.linear(h, fc2, hidden .. " -> " .. c, { [c] = x:size(c) }, o)
end

return linear
