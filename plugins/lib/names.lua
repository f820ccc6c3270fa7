-- SPDX-License-Identifier: Apache-2.0
-- names.lua: axis names in spec strings, for library functions that make weights.
local lap = require "lap"
local names = {}

function names.list(spec)
  local out = {}
  for n in (spec or ""):gmatch "[%a_][%w_.]*" do out[#out + 1] = n end
  return out
end
-- "c -> (s h d)" as its two sides.
function names.arrow(spec)
  local from, to = spec:match "^%s*(.-)%s*%->%s*(.-)%s*$"
  if not from then lap.fail(("expected 'axes -> axes', found '%s'"):format(spec)) end
  return from, to
end
-- The sizes of the named axes: those given, else those of x.
function names.sizes(x, spec, given)
  local out = {}
  for _, n in ipairs(names.list(spec)) do
    out[n] = given and given[n] or (x:has(n) and x:size(n)) or nil
  end
  return out
end
-- The spec with every axis that x also has replaced by a fresh one, and the axes as they were and
-- as they are: a square layer "c -> c" must not align what it makes with what it reads.
function names.fresh(x, spec)
  local old, new = {}, {}
  local out = spec:gsub("[%a_][%w_.]*", function(n)
    if not x:has(n) then return n end
    old[#old + 1], new[#new + 1] = n, lap.axis(n)
    return new[#new]
  end)
  return out, old, new
end
function names.plain(spec) return (spec:gsub("[()]", "")) end
function names.group(spec)                         -- several axes share one axis of a weight
  return #names.list(spec) == 1 and spec or "(" .. names.plain(spec) .. ")"
end

return names
