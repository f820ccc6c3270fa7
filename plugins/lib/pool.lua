-- SPDX-License-Identifier: Apache-2.0
-- pool.lua: pooling over any grid axes, with torch's borders.
local lap = require "lap"
local pool = {}

-- Places of a pooled axis. With ceil_mode a last window may overhang, if it starts inside.
local function places(n, k, stride, pad, dilation, is_ceil)
  local span = n + 2 * pad - dilation * (k - 1) - 1
  if not is_ceil then return span // stride + 1 end
  return lap.dim.min(lap.dim.ceil(span, stride) + 1, (n + pad - 1) // stride + 1)
end
local function windows(x, grid, taps, o, fill)
  local size, stride, pad = grid:each(o.size), grid:each(o.stride), grid:each(o.pad, 0)
  local dilation, count = grid:each(o.dilation, 1), {}
  for i, axis in ipairs(grid) do
    stride[i] = stride[i] or size[i]
    count[i] = places(x:size(axis), size[i], stride[i], pad[i], dilation[i], o.ceil_mode)
  end
  local shape = { size = size, stride = stride, pad = pad, dilation = dilation, count = count }
  shape.fill = (o.pad or o.ceil_mode) and fill or nil     -- else nothing is outside
  return x:windows(grid, taps, shape), shape
end

-- along: "y x"; o.size, o.stride (the size unless said), o.pad, o.dilation: a number or one per
-- axis; o.ceil_mode.
function pool.max_pool(x, along, o)
  local grid = lap.pack(along)
  local taps = grid:fresh "w"
  return (windows(x, grid, taps, o, -math.huge)):max(tostring(taps))
end
-- o.count_include_pad = false: the mean of what is inside.
function pool.avg_pool(x, along, o)
  local grid = lap.pack(along)
  local taps = grid:fresh "w"
  local y, shape = windows(x, grid, taps, o, 0)
  if not o.ceil_mode and (not o.pad or o.count_include_pad ~= false) then
    return y:mean(tostring(taps))
  end
  local count = 1
  for i, axis in ipairs(grid) do
    local n, from = x:size(axis), y:index(axis) * shape.stride[i] - shape.pad[i]
    local to = (from + shape.size[i]):atmost(n + shape.pad[i])
    if o.count_include_pad == false then from, to = from:atleast(0), to:atmost(n) end
    count = (to - from) * count
  end
  return y:sum(tostring(taps)) / count
end
-- Spatial pyramid: maxima over 2^l bins along each axis, l < levels, padded by zeros that count; with
-- spec "c y x -> k" all bins of all levels stand on the axis k.
function pool.pyramid(x, along, spec, levels)
  local grid, from, to = lap.pack(along), spec:match "^%s*(.-)%s*%->%s*(%S+)%s*$"
  local taps, flat = grid:fresh "w", {}
  for l = 0, levels - 1 do
    local n, bins = 1 << l, x
    for i, axis in ipairs(grid) do
      local size = bins:size(axis)
      local k = lap.dim.ceil(size, n)
      bins = bins:window(axis .. " -> " .. axis .. " " .. taps[i],
        { size = k, stride = k, pad = (k * n - size) // 2, count = n, fill = 0 })
    end
    flat[l + 1] = bins:max(tostring(taps)):merge(from .. " -> " .. to)
  end
  return lap.cat(to, flat)
end

-- To `sizes` = { y = 7, x = 7 } places: the i-th of o covers floor(i n / o) .. ceil((i + 1) n / o).
local function adaptive(x, along, sizes, red)
  for _, axis in ipairs(lap.pack(along)) do
    local n, o = x:size(axis), type(sizes) == "table" and sizes[axis] or sizes
    local out, w = lap.axis(axis), lap.axis "w"
    local i, tap = x.g:index(out, o), x.g:index(w, n // o + 2)
    local from, upto = i * n // o, ((i + 1) * n + (o - 1)) // o
    local is_inside, read = (from + tap):lt(upto), x:at({ [axis] = from + tap }, 0)
    if red == "max" then
      x = lap.where(is_inside, read, -math.huge):max(w)
    else
      x = lap.where(is_inside, read, 0):sum(w) / (upto - from)
    end
    x = x:as(out .. " -> " .. axis)
  end
  return x
end
function pool.adaptive_avg_pool(x, along, sizes) return adaptive(x, along, sizes, "mean") end
function pool.adaptive_max_pool(x, along, sizes) return adaptive(x, along, sizes, "max") end

return pool
