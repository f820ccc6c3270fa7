-- SPDX-License-Identifier: Apache-2.0
-- views.lua: reading a value elsewhere. Every view is one `at` with an affine index, so none copies.
local prim = ...
local lap, V, G, fail = prim.lap, prim.V, prim.G, prim.say

-- out[...] = self[axis = index, ...]; the index's axes replace the axis, others align by name.
-- Outside the axis: `fill`, or an error if the element reaches a result.
function V:at(place, a, b)
  local fill = a
  if type(place) == "string" then
    if a == nil then fail("at '%s' needs an index", place) end
    place, fill = { [place] = a }, b
  elseif type(place) ~= "table" then
    fail("at needs { axis = index }, found %s", prim.kind(place))
  end
  local src, args = {}, { self }
  for _, name in ipairs(prim.axes(self)) do
    if place[name] ~= nil then src[#src + 1] = name; args[#args + 1] = place[name] end
  end
  for _, name in ipairs(prim.sorted(place)) do V.size(self, name) end
  if #src == 0 then return self end
  return prim.emit("at", args, { src = src, fill = fill })
end

function V:as(spec)                                -- rename: "n d -> m e"
  local from, to = prim.arrow(spec)
  if #from ~= #to then fail("'%s' renames %d axes to %d", tostring(spec), #from, #to) end
  prim.need(self, from)
  prim.free(self, to, from)
  return prim.emit("rename", { self }, { from = from, to = to })
end
function V:ragged(name, count)                     -- the axis ends at `count`, a value over other axes
  V.size(self, name)
  local lacks = prim.except(prim.axes(prim.lift(count)), prim.axes(self))
  if #lacks == 0 then return prim.ragged(self, name, count) end
  local zero = G.full(nil, self.dtype == "f32" and 0.0 or 0, table.concat(lacks, " "), count)
  return prim.ragged(self + zero, name, count)
end
-- States extents that the graph cannot prove, { y = 7 }: checked at load, believed from then on.
function V:expect(sizes)
  local x = self
  for _, name in ipairs(prim.sorted(sizes)) do
    V.size(x, name)
    x = prim.expect(x, name, sizes[name])
  end
  return x
end

-- self as queries, the others as keys: q, k, v = q:queries("n -> m", k, v). Alone: self and its keys.
function V:queries(spec, ...)
  local keys = { ... }
  if #keys == 0 then return self, self:as(spec) end
  for i, k in ipairs(keys) do keys[i] = V.as(k, spec) end
  return self, table.unpack(keys)
end

-- "n -> y wy": n = y*size(wy) + wy, last name fastest; one size may be left out.
function V:split(spec, sizes)
  local from, to = prim.arrow(spec)
  if #from ~= 1 then fail("split takes one axis, '%s' names %d", tostring(spec), #from) end
  local name = from[1]
  local whole, known, unknown, size = V.size(self, name), 1, nil, {}
  prim.free(self, to, from)
  for _, n in ipairs(to) do
    size[n] = sizes and sizes[n]
    if size[n] == nil then
      if unknown then fail("split '%s' needs the size of '%s' or of '%s'", tostring(spec), unknown, n) end
      unknown = n
    else
      known = known * size[n]
    end
  end
  local why = ("axis '%s' of %s cannot be split as '%s' in parts of %s"):format(
    name, tostring(whole), tostring(spec), tostring(known))
  if unknown then
    if known == 0 then fail("%s", why) end
    prim.assume(whole % known, "eq", 0, why)
    size[unknown] = whole // known
  else
    prim.assume(known, "eq", whole, why)
  end
  local place = 0
  for _, n in ipairs(to) do place = place * size[n] + prim.index(n, size[n]) end
  return self:at { [name] = place }
end
function V:merge(spec)                             -- "y wy -> n", last name fastest
  local from, to = prim.arrow(spec)
  if #to ~= 1 or #from == 0 then fail("merge makes one axis of several, '%s' does not", tostring(spec)) end
  local total, place = 1, {}
  prim.need(self, from)
  prim.free(self, to, from)
  for _, n in ipairs(from) do total = total * prim.size(self, n) end
  local rest = prim.index(to[1], total)
  for i = #from, 1, -1 do
    local n = prim.size(self, from[i])
    place[from[i]] = i > 1 and rest % n or rest
    rest = i > 1 and rest // n or rest
  end
  return self:at(place)
end
-- Blocks of `size`, whatever the length: the last one is short (its inner axis is ragged).
function V:blocks(spec, size)
  local from, to = prim.arrow(spec)
  if #from ~= 1 or #to ~= 2 then fail("blocks are 'axis -> block inner', found '%s'", tostring(spec)) end
  local n, count = V.size(self, from[1]), prim.count(self, from[1])
  prim.free(self, to, from)
  if count == nil and prim.decide(n % size, "eq", 0) then return self:split(spec, { [to[2]] = size }) end
  local p, i = prim.index(to[1], lap.dim.ceil(n, size)), prim.index(to[2], size)
  local x = self:at({ [from[1]] = p * size + i }, 0)
  if count then x = x:ragged(to[1], (count + (size - 1)) // size) end
  return x:ragged(to[2], (prim.lift(count or n) - p * size):clamp(0, size))
end

function V:slice(name, start, len)
  local n = V.size(self, name)
  if len == nil then fail("slice of axis '%s' needs a start and a length", name) end
  if not prim.is_value(start) then
    prim.assume(start + len, "le", n, ("slice %s .. %s of axis '%s' leaves its %s entries"):format(
      tostring(start), tostring(start + len - 1), name, tostring(n)))
  end
  return self:at { [name] = prim.index(name, len) + start }
end
function V:pad(name, before, after, fill)
  return self:at({ [name] = prim.index(name, V.size(self, name) + before + after) - before }, fill or 0)
end
function V:flip(name)
  local n = V.size(self, name)
  return self:at { [name] = (n - 1) - prim.index(name, n) }
end
function V:roll(name, by)
  local n = V.size(self, name)
  return self:at { [name] = (prim.index(name, n) - by) % n }
end
-- "y -> y wy", { size = 3, stride = 1, dilation = 1, pad = 1 }: y now counts windows, wy is inside.
function V:window(spec, o)
  local from, to = prim.arrow(spec)
  if #from ~= 1 or #to ~= 2 then fail("a window is 'axis -> place inner', found '%s'", tostring(spec)) end
  local n, stride, dilation, pad = V.size(self, from[1]), o.stride or 1, o.dilation or 1, o.pad or 0
  prim.free(self, to, from)
  if o.size == nil then fail("window '%s' needs a size", tostring(spec)) end
  local count = o.count or (n + 2 * pad - dilation * (o.size - 1) - 1) // stride + 1
  local place = prim.index(to[1], count) * stride + prim.index(to[2], o.size) * dilation - pad
  return self:at({ [from[1]] = place }, (pad ~= 0 or o.fill) and (o.fill or 0) or nil)
end
-- The same along every axis of a pack: x:windows(grid, taps, { size = 3, stride = {2, 1} }).
function V:windows(grid, taps, o)
  local x = self
  grid, taps = lap.pack(grid), lap.pack(taps)
  if #grid ~= #taps then
    fail("windows over '%s' need %d inner axes, found '%s'", tostring(grid), #grid, tostring(taps))
  end
  local each = {}
  for _, k in ipairs { "size", "stride", "dilation", "pad", "count" } do each[k] = grid:each(o[k]) end
  for i, axis in ipairs(grid) do
    local one = { fill = o.fill }
    for k, v in pairs(each) do one[k] = v[i] end
    x = x:window(axis .. " -> " .. axis .. " " .. taps[i], one)
  end
  return x
end

-- Parts of an axis -----------------------------------------------------------------------------
function V:unstack(name)                           -- q, k, v = x:unstack "s"
  local n, out = V.size(self, name), {}
  if math.type(n) ~= "integer" then
    fail("unstack '%s' needs a constant size, %s is none\nhint: state it in the layout, as in \"b %s=3 n\"",
      name, tostring(n), name)
  end
  if n > 200 then fail("unstack '%s' would give %d values", name, n) end
  for i = 1, n do out[i] = self:at(name, i - 1) end
  return table.unpack(out)
end
function V:cut(name, ...)                          -- consecutive parts of the given sizes; all of the axis
  local sizes, from, out = { ... }, 0, {}
  for i, n in ipairs(sizes) do
    out[i] = self:slice(name, from, n)
    from = from + n
  end
  prim.assume(from, "eq", V.size(self, name), ("the parts of axis '%s' do not add up to it"):format(name))
  return table.unpack(out)
end
function V:unit(name)                              -- with a new axis of size 1
  prim.free(self, { name }, {})
  return self + prim.map("mul", prim.index(name, 1), self.dtype == "f32" and 0.0 or 0)
end

local function graph_check(parts, what)
  if type(parts) ~= "table" or #parts == 0 then fail("%s needs a list of values", what) end
end
function lap.stack(name, parts)
  graph_check(parts, "stack")
  for _, x in ipairs(parts) do if prim.is_value(x) then prim.free(x, { name }, {}) end end
  local i, out = prim.index(name, #parts), prim.lift(parts[#parts])
  for k = #parts - 1, 1, -1 do out = lap.where(i:eq(k - 1), parts[k], out) end
  return #parts == 1 and out:unit(name) or out
end
function lap.cat(name, parts)
  graph_check(parts, "cat")
  if #parts == 1 then return parts[1] end
  local total = 0
  for _, x in ipairs(parts) do total = total + V.size(x, name) end
  local i, from, out = prim.index(name, total), total, nil
  for k = #parts, 1, -1 do
    local n = prim.size(parts[k], name)
    from = from - n
    local x = parts[k]:at({ [name] = i - from }, 0)
    if out == nil then
      out = x
    elseif n == 1 then                               -- one entry does not decide the order of axes
      out = lap.where(i:ge(from + n), out, x)
    else
      out = lap.where(i:lt(from + n), x, out)
    end
  end
  return out
end
-- A span of `len` entries left out from `start` on, per row where start is a value.
function V:drop(name, start, len)
  local i = prim.index(name, V.size(self, name) - len)
  return self:at { [name] = lap.where(i:lt(start), i, i + len) }
end
-- `part` put in before entry `start`.
function V:insert(name, start, part)
  local n, len = V.size(self, name), V.size(part, name)
  local i = prim.index(name, n + len)
  local is_before, is_inside = i:lt(start), i:lt(prim.lift(start) + len)
  local old = self:at { [name] = lap.where(is_before, i, (i - len):atleast(0)) }
  return lap.where(~is_before & is_inside, part:at({ [name] = i - start }, 0), old)
end
-- Entry `count` of a bounded cache becomes `x`, which lacks the axis.
function V:append(name, count, x)
  V.size(self, name)
  return lap.where(prim.index(name, V.size(self, name)):eq(count), x, self)
end
