-- SPDX-License-Identifier: Apache-2.0
-- conv.lua: convolutions over any number of grid axes, cross-correlations as in torch.
local lap, names, norm = require "lap", require "lib.names", require "lib.norm"
local conv = {}

local function taps_of(grid, o)
  local taps = grid:fresh "k"
  return taps, tostring(taps), grid:each(o.k), grid:each(o.stride, 1), grid:each(o.dilation, 1)
end

-- spec "c -> m": sums over c, makes m. o.groups: axes with filters of their own ("c" with spec ""
-- is a depthwise convolution, "g" with "e -> f" a grouped one). o.along: grid axes, "y x" unless
-- said. o.k, o.stride, o.dilation, o.pad: a number or one per axis; pad keeps the size unless said.
-- o.sizes: of axes that x lacks. o.bias = false.
local function read_spec(x, spec, o)
  local from, to = "", ""
  if spec:find "%S" then from, to = names.arrow(spec) end
  local made, old, new = names.fresh(x, to)
  local s = names.sizes(x, (o.groups or "") .. " " .. from)
  for n, size in pairs(names.sizes(x, made, o.sizes)) do s[n] = size end
  for i, n in ipairs(old) do s[new[i]] = o.sizes and o.sizes[n] or x:size(n) end
  return { from = from, made = made, old = old, new = new, sizes = s,
    per = names.group((o.groups or "") .. " " .. made) }
end
local function finish(y, name, r, o)
  if o.bias ~= false then y = y + y.g:weight(name .. ".bias", r.per, r.sizes) end
  if #r.old == 0 then return y end
  return y:as(table.concat(r.new, " ") .. " -> " .. table.concat(r.old, " "))
end

function conv.conv(x, name, spec, o)
  local grid, r = lap.pack(o.along or "y x"), read_spec(x, spec, o)
  local taps, tap_names, k, stride, dilation = taps_of(grid, o)
  local pad = grid:each(o.pad)
  for i = 1, #grid do pad[i] = pad[i] or dilation[i] * (k[i] - 1) // 2 end
  x = x:windows(grid, taps, { size = k, stride = stride, dilation = dilation, pad = pad })
  taps:sizes(k, r.sizes)
  local from = r.from == "" and "1" or names.group(r.from)
  local W = x.g:weight(name .. ".weight", r.per .. " " .. from .. " " .. tap_names, r.sizes)
  return finish(x:dot(W, names.plain(r.from) .. " " .. tap_names), name, r, o)
end
function conv.depthwise(x, name, channels, o)
  local t = { groups = channels }
  for key, v in pairs(o) do t[key] = v end
  return conv.conv(x, name, "", t)
end

-- NAME.c, a convolution without bias, then its batch norm NAME.bn.
function conv.conv_bn(x, name, spec, o)
  local t = { bias = false }
  for key, v in pairs(o) do t[key] = v end
  local y = conv.conv(x, name .. ".c", spec, t)
  return norm.batchnorm(y, name .. ".bn", o.groups or spec:match "%->%s*(.-)%s*$")
end

-- The transpose, ConvTranspose of torch: weight (in, out per group, taps). o.output_pad: more
-- places.
function conv.conv_transpose(x, name, spec, o)
  local grid, r = lap.pack(o.along or "y x"), read_spec(x, spec, o)
  local taps, tap_names, k, stride, dilation = taps_of(grid, o)
  local pad, more, place, back = grid:each(o.pad, 0), grid:each(o.output_pad, 0), {}, {}
  for i, axis in ipairs(grid) do
    local out = grid:fresh "o"[i]
    local n = (x:size(axis) - 1) * stride[i] - 2 * pad[i] + dilation[i] * (k[i] - 1) + more[i] + 1
    local at = x.g:index(out, n) + pad[i] - x.g:index(taps[i], k[i]) * dilation[i]
    place[axis] = lap.where((at % stride[i]):eq(0), at // stride[i], -1)
    back[i] = out
  end
  taps:sizes(k, r.sizes)
  local layout = names.group((o.groups or "") .. " " .. r.from) .. " "
    .. (r.made == "" and "1" or names.group(r.made)) .. " " .. tap_names
  local W = x.g:weight(name .. ".weight", layout, r.sizes)
  local y = x:at(place, 0):dot(W, names.plain(r.from) .. " " .. tap_names)
  y = y:as(table.concat(back, " ") .. " -> " .. tostring(grid))
  return finish(y, name, r, o)
end

return conv
