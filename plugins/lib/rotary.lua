-- SPDX-License-Identifier: Apache-2.0
-- rotary.lua: rotary position embedding.
local lap = require "lap"
local rotary = {}

-- x turned by pos * theta^(-2 e / n) in each of its n/2 planes. o.axis: "d" unless said. o.pairs:
-- "half" (e and e + n/2, unless said) or "interleaved" (2e and 2e + 1). o.part: only the first so
-- many.
function rotary.rope(x, pos, theta, o)
  o = o or {}
  local d = o.axis or "d"
  local n = o.part or x:size(d)
  if o.part then
    local turned, rest = x:slice(d, 0, n), x:slice(d, n, x:size(d) - n)
    return lap.cat(d, { rotary.rope(turned, pos, theta, { axis = d, pairs = o.pairs }), rest })
  end
  local half, e = lap.axis "half", lap.axis "e"
  local order = o.pairs == "interleaved" and e .. " " .. half or half .. " " .. e
  local z = x:split(d .. " -> " .. order, { [half] = 2 })
  local a, b = z:unstack(half)
  local angle = pos * (z:index(e) * (-2.0 * math.log(theta)) / n):exp()   -- n may be symbolic
  local c, s = angle:cos(), angle:sin()
  return lap.stack(half, { a * c - b * s, b * c + a * s }):merge(order .. " -> " .. d)
end

return rotary
