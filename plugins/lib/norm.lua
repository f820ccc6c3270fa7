-- SPDX-License-Identifier: Apache-2.0
-- norm.lua: normalisations. `over`: the axes of the statistics; without a name there are no
-- weights.
local names = require "lib.names"
local norm = {}

local function affine(y, name, per, has_bias)
  if not name then return y end
  local spec, sizes = names.group(per), names.sizes(y, per)
  y = y * y.g:weight(name .. ".weight", spec, sizes)
  return has_bias and y + y.g:weight(name .. ".bias", spec, sizes) or y
end
local function standard(x, over, eps)
  local z = x - x:mean(over)
  return z / ((z * z):mean(over) + (eps or 1e-5)):sqrt()
end

function norm.layernorm(x, name, over, eps)
  return affine(standard(x, over, eps), name, over, true)
end
-- Group norm of x with axes (g e): over "e y x", weights per "g e". Instance norm: over "y x", per
-- "c".
function norm.groupnorm(x, name, over, per, eps)
  return affine(standard(x, over, eps), name, per, true)
end
norm.instancenorm = norm.groupnorm
function norm.rms(x, over, eps) return x / ((x * x):mean(over) + eps):sqrt() end
function norm.rmsnorm(x, name, over, eps)
  return affine(norm.rms(x, over, eps), name, over, false)
end
-- Batch norm of inference: an affine map per channel of the axis c, or of those named.
function norm.batchnorm(x, name, c, eps)
  c = c or "c"
  local spec, sizes = names.group(c), names.sizes(x, c)
  local function w(which) return x.g:weight(name .. "." .. which, spec, sizes) end
  local scale = w "weight" / (w "running_var" + (eps or 1e-5)):sqrt()
  return (x - w "running_mean") * scale + w "bias"
end

return norm
