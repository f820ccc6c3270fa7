-- SPDX-License-Identifier: Apache-2.0
-- blur.lua: smoothing of a grid.
local lap = require "lap"
local blur = {}

-- Gaussian along each axis, sigma = share * its size, cut at 4 sigma; the border pixels repeat,
-- "c b a | a b c | c b a".
function blur.gaussian(x, along, share)
  for _, axis in ipairs(lap.pack(along)) do
    local g, n, tap = x.g, x:size(axis), lap.axis "tap"
    local sigma = g:number(n) * share
    local reach = (4 * sigma + 0.5):int()
    local d = g:index(tap, n):ragged(tap, 2 * reach + 1) - reach
    local weight = (-0.5 * (d / sigma) * (d / sigma)):exp()
    local j = (g:index(axis, n) + d) % (2 * n)
    x = x:at(axis, lap.where(j:lt(n), j, 2 * n - 1 - j)):dot(weight / weight:sum(tap), tap)
  end
  return x
end

return blur
