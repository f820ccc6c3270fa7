-- SPDX-License-Identifier: Apache-2.0
-- reduce.lua: folds over axes, order along an axis, and scatter.
local prim = ...
local lap, V, G, fail = prim.lap, prim.V, prim.G, prim.say

local function reduce(x, red, names)
  names = names == nil and prim.axes(x) or prim.words(names)
  prim.need(x, names)
  if #names == 0 then return x end
  return prim.emit("reduce", { x }, { red = red, over = names })
end
for _, red in ipairs { "sum", "max", "min", "prod", "any", "all" } do
  V[red] = function(x, names) return reduce(x, red, names) end
end
local function place_of(red)
  return function(x, name)
    if #prim.words(name) ~= 1 then fail("%s takes one axis", red) end
    return reduce(x, red, name)
  end
end
V.argmax, V.argmin = place_of "argmax", place_of "argmin"
function V:dot(w, names) return (self * w):sum(names) end

-- Number of elements along axes, ragged ones by their counts: inner axes (whose count varies over
-- another of the axes) first.
local function elements(x, names)
  local n, left = 1, { table.unpack(names) }
  while #left > 0 do
    local pick = 1
    for i, name in ipairs(left) do
      local count = prim.count(x, name)
      for _, a in ipairs(count and prim.axes(count) or {}) do if prim.has(left, a) then pick = i end end
    end
    local name = table.remove(left, pick)
    local size = prim.count(x, name) or prim.size(x, name)
    if prim.is_value(n) and prim.size(n, name) ~= nil then n = n:sum(name) else n = n * size end
  end
  return n
end
function V:mean(names)
  local list = names == nil and prim.axes(self) or prim.words(names)
  prim.need(self, list)
  return self:sum(names) / elements(self, list)
end
function V:var(names)
  local z = self - self:mean(names)
  return (z * z):mean(names)
end
function V:softmax(names)
  prim.look_scores(self, prim.words(names))
  local e = (self - self:max(names)):exp()
  return e / e:sum(names)
end
function V:log_softmax(names)
  prim.look_scores(self, prim.words(names))
  local z = self - self:max(names)
  return z - z:exp():sum(names):log()
end

-- Order -----------------------------------------------------------------------------------------
-- The k largest along an axis, falling, ties to the lower index: { values, index }. k: an extent, or a
-- value (then the new axis is ragged). o: smallest = true; order = "position" for the order of places.
function V:topk(spec, k, o)
  local from, to = prim.arrow(spec)
  if #from ~= 1 or #to ~= 1 then fail("topk is 'axis -> axis', found '%s'", tostring(spec)) end
  local n = V.size(self, from[1])
  if k == nil then fail("topk '%s' needs a number", tostring(spec)) end
  prim.free(self, to, from)
  local is_ragged = prim.is_value(k)
  if not is_ragged then
    prim.assume(k, "le", n,
      ("the %s largest of axis '%s', which is %s"):format(tostring(k), from[1], tostring(n)))
  end
  local node = prim.emit("topk", is_ragged and { self, k } or { self },
    { axis = from[1], into = to[1], dim = is_ragged and n or k, smallest = o and o.smallest or false })
  local index = prim.result(node, "index")
  if not (o and o.order == "position") then return { values = prim.result(node, "values"), index = index } end
  local inner = lap.axis(to[1])
  local sorted = index:as(to[1] .. " -> " .. inner)
  local n_kept = is_ragged and k or prim.size(sorted, inner)
  local ranked = sorted:topk(inner .. " -> " .. to[1], n_kept, { smallest = true })
  return { index = ranked.values, values = self:at(from[1], ranked.values) }
end
function V:sort(spec, o)
  local from = prim.arrow(spec)
  return self:topk(spec, V.size(self, from[1]), o)
end
function V:argsort(spec, o) return self:sort(spec, o).index end
-- Packs the places where a mask holds, in order: { index, count }, a ragged axis of `count` entries.
function V:keep(spec)
  local from = prim.arrow(spec)
  local n = self:index(from[1])
  local far = lap.where(self, n, n + V.size(self, from[1]))
  local count = self:sum(from[1])
  return { index = far:topk(spec, count, { smallest = true }).index, count = count }
end
function V:top(name, k, o)                         -- a mask of the k largest along an axis
  local n, m = V.size(self, name), lap.axis(name)
  local best = self:topk(name .. " -> " .. m, k, o).index
  return (best * 0 + 1):scatter(m, { [name] = best }, { [name] = n }):gt(0)
end
-- Sum of the entries up to and including each.
function V:cumsum(name)
  local zero = (self:at(name, 0) * 0)
  return prim.build.g:scan { along = name, state = { sum = zero }, inputs = { x = self },
    body = function(s, t)
      local sum = s.sum + t.x
      return { sum = sum }, { out = sum }
    end }.out
end

-- out[axis = index, ...] (set | add | max)= self over the axes `over`; `base` elsewhere.
function V:scatter(over, place, sizes, o)
  local names, args, targets, extents = prim.words(over), { self }, prim.sorted(place), {}
  for i, name in ipairs(targets) do
    args[i + 1] = place[name]
    extents[i] = sizes and sizes[name]
    if extents[i] == nil then fail("scatter needs the size of '%s'", name) end
  end
  if #targets == 0 then fail("scatter needs a place") end
  return prim.emit("scatter", args, { over = names, target = targets, sizes = extents,
    mode = o and o.mode or "add", base = o and o.base or 0 })
end
