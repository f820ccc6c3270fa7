-- SPDX-License-Identifier: Apache-2.0
-- resize.lua: reading a grid at other places: interpolation, sampling, padding.
local lap = require "lap"
local resize = {}

local function nearest(i, n, m) return i * n // m end
-- The two neighbours of place i of m on a grid of n, and the share of the second.
local function linear(i, n, m, is_aligned)
  local at
  if is_aligned then
    at = i * (lap.dim.is(n) and i.g:number(n - 1) or n - 1) / i.g:number(lap.dim.max(m - 1, 1))
  else
    at = ((i + 0.5) * n / m - 0.5):atleast(0.0)
  end
  local low = at:floor():int():clamp(0, n - 1)
  return low, (low + 1):atmost(n - 1), at - low
end

-- Four taps around place i of m on a grid of n, by the cubic kernel of a = -0.75; those outside are
-- the border's.
local function cubic(x, axis, i, n, m)
  local tap = lap.axis "tap"
  local source = (i + 0.5) * n / m - 0.5
  local at, a = source:floor():int() - 1 + x.g:index(tap, 4), -0.75
  local t = (source - at):abs()
  local near = ((a + 2) * t - (a + 3)) * t * t + 1
  local share = lap.where(t:le(1), near, (((t - 5) * t + 8) * t - 4) * a)
  return x:at(axis, at:clamp(0, n - 1)):dot(share, tap)
end

-- To `sizes` = { y = 28, x = 28 }; o.mode "nearest" (unless said), "linear" (bilinear on two axes,
-- trilinear on three) or "cubic"; o.align_corners, of linear.
function resize.resize(x, along, sizes, o)
  o = o or {}
  for _, axis in ipairs(lap.pack(along)) do
    local n, m, out = x:size(axis), sizes[axis] or lap.fail("resize needs the size of " .. axis),
      lap.axis(axis)
    local i = x.g:index(out, m)
    if (o.mode or "nearest") == "nearest" then
      x = x:at { [axis] = nearest(i, n, m) }
    elseif o.mode == "cubic" then
      x = cubic(x, axis, i, n, m)
    else
      local low, high, share = linear(i, n, m, o.align_corners)
      x = x:at { [axis] = low } * (1 - share) + x:at { [axis] = high } * share
    end
    x = x:as(out .. " -> " .. axis)
  end
  return x
end

-- To `sizes` by cubic B-splines, half-pixel centres, zero outside. The spline of one sample has the
-- coefficients -6z / (1 - z^2) z^|distance|, z = sqrt(3) - 2.
function resize.spline(x, along, sizes)
  local z = math.sqrt(3) - 2
  for _, axis in ipairs(lap.pack(along)) do
    local g, n, out, knot = x.g, x:size(axis), lap.axis(axis), lap.axis "knot"
    local at = (g:index(out, sizes[axis]) + 0.5) * n / sizes[axis] - 0.5
    local j = g:index(knot, n + 4) - 2
    local coefficient = -6 * z / (1 - z * z) * g:number(z) ^ (j - g:index(axis, n)):abs()
    local d = (at - j):abs()
    local far = (2 - d):atleast(0)
    local basis = lap.where(d:lt(1), 4 + (3 * d - 6) * d * d, far * far * far) / 6
    x = x:dot(basis:dot(coefficient, knot), axis):as(out .. " -> " .. axis)
  end
  return x
end

-- x at real positions { y = py, x = px }, linear between pixels, zero outside.
function resize.sample(x, places)
  local axes = {}
  for axis in pairs(places) do axes[#axes + 1] = axis end
  table.sort(axes)                                 -- one graph whatever the table's order
  local function corner(i, at, weight)
    if i > #axes then return weight * x:at(at, 0) end
    local axis, sum = axes[i], nil
    local p = places[axis]
    local low = p:floor()
    for d = 0, 1 do
      local near, share = low + d, 1 - (low + d - p):abs()
      at[axis] = near:int()
      local part = corner(i + 1, at, weight and weight * share or share)
      sum = sum and sum + part or part
    end
    return sum
  end
  return corner(1, {}, nil)
end
function resize.bilinear(x, py, px) return resize.sample(x, { y = py, x = px }) end

-- sizes = { y = { before, after } }; mode "constant" (o.value), "reflect", "replicate", "circular".
function resize.pad(x, sizes, mode, value)
  local axes = {}
  for axis in pairs(sizes) do axes[#axes + 1] = axis end
  table.sort(axes)
  for _, axis in ipairs(axes) do
    local n, before, after = x:size(axis), sizes[axis][1], sizes[axis][2]
    if (mode or "constant") == "constant" then
      x = x:pad(axis, before, after, value)
    else
      local i = x.g:index(axis, n + before + after) - before
      if mode == "reflect" then
        i = (n - 1) - ((n - 1) - i:abs()):abs()
      elseif mode == "replicate" then
        i = i:clamp(0, n - 1)
      elseif mode == "circular" then
        i = i % n
      else
        lap.fail("pad has no mode '" .. tostring(mode) .. "'")
      end
      x = x:at { [axis] = i }
    end
  end
  return x
end

return resize
