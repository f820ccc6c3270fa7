-- SPDX-License-Identifier: Apache-2.0
-- quantise.lua: uniform quantisation between a least and a largest value.
local lap = require "lap"
local quantise = {}

function quantise.step(lo, hi, bits) return (hi - lo) / (2 ^ bits - 1) end
function quantise.codes(x, lo, step)               -- a range of width zero has the code 0
  return lap.where(step:gt(0), ((x - lo) / lap.where(step:gt(0), step, 1)):round(), 0)
end

return quantise
