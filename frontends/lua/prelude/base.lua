-- SPDX-License-Identifier: Apache-2.0
-- base.lua: names, packs, leaves, elementwise functions. Each file of the prelude gets the table of
-- primitives; V holds the methods of tensors, G those of the graph builder, lap is the module.
local prim = ...
local V, G = prim.V, {}
local lap = { dim = prim.dim }
prim.G, prim.lap = G, lap
G.__index = function(_, key) return rawget(G, key) or prim.unknown("the graph", G, key) end
G.__metatable = false

local function fail(fmt, ...) prim.fail(fmt:format(...)) end
prim.say = fail
lap.fail = fail

function prim.sorted(t)                            -- the string keys of a table, in order
  local keys = {}
  for k in next, t do
    if type(k) ~= "string" then fail("expected names as keys, found %s", prim.kind(k)) end
    keys[#keys + 1] = k
  end
  table.sort(keys)
  return keys
end
function prim.has(list, name)
  for i = 1, #list do if list[i] == name then return i end end
  return nil
end

-- did you mean ----------------------------------------------------------------------------------
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and diagonal or diagonal + 1
      diagonal = row[j]
      row[j] = math.min(cost, row[j] + 1, row[j - 1] + 1)
    end
  end
  return row[#b]
end
function prim.hint(name, known)                    -- known: list of strings
  local best, least = nil, math.max(2, #name // 3) + 1
  for _, k in ipairs(known) do
    local d = #name <= 60 and #k <= 60 and distance(name, k) or 99
    if d < least and d < #name then best, least = k, d end
  end
  return best and ("\nhint: did you mean '%s'?"):format(best) or ""
end
function prim.unknown(what, methods, key)
  key = tostring(key)
  fail("%s has no '%s'%s", what, key, prim.hint(key, prim.sorted(methods)))
end

-- Names -----------------------------------------------------------------------------------------
function lap.axis(stem) return prim.fresh(stem or "u") end
function G:axis(stem) return lap.axis(stem) end

-- A pack is a list of axes that a generic function treats alike: "b " .. grid .. " c".
local Pack = { __metatable = false }
local pack_methods = {}
Pack.__index = function(_, key)
  return pack_methods[key] or (type(key) == "string" and prim.unknown("a pack", pack_methods, key)) or nil
end
Pack.__tostring = function(p) return table.concat(p, " ") end
Pack.__concat = function(a, b) return tostring(a) .. tostring(b) end
function lap.pack(spec)
  if getmetatable(spec) == false and type(spec) == "table" then return spec end
  return setmetatable(prim.words(spec), Pack)
end
function pack_methods:fresh(stem)                  -- as many names that nobody else has
  local out = {}
  for i, n in ipairs(self) do out[i] = prim.fresh((stem or "") .. n) end
  return setmetatable(out, Pack)
end
function pack_methods:each(v, missing)             -- one number for all axes, or a list: per axis
  local out = {}
  if type(v) == "table" and #v ~= #self then
    fail("%d numbers for the %d axes '%s'", #v, #self, tostring(self))
  end
  for i = 1, #self do
    if type(v) == "table" then out[i] = v[i] elseif v == nil then out[i] = missing else out[i] = v end
  end
  return out
end
function pack_methods:sizes(v, into)               -- the same by name, added to `into`
  local each, out = self:each(v), into or {}
  for i, n in ipairs(self) do out[n] = each[i] end
  return out
end

-- Axes of a value -------------------------------------------------------------------------------
function V:axes() return prim.axes(self) end
function V:has(name) return prim.size(self, name) ~= nil end
function V:size(name)
  if name == nil then fail("size needs the name of an axis") end
  local d = prim.size(self, name)
  if d == nil then
    local axes = prim.axes(self)
    fail("no axis '%s' in %s%s", tostring(name), prim.show(self), prim.hint(tostring(name), axes))
  end
  return d
end
function V:count(name) V.size(self, name) return prim.count(self, name) end
function prim.need(x, names) for _, n in ipairs(names) do V.size(x, n) end end
-- A function that would make an axis which the value keeps would align the two by accident.
function prim.free(x, made, gone)
  for _, n in ipairs(made) do
    if prim.size(x, n) ~= nil and not prim.has(gone, n) then
      fail("axis '%s' would be made twice: %s already has it\nhint: rename it first with :as(\"%s -> ...\")",
        n, prim.show(x), n)
    end
  end
end
function prim.except(axes, names)
  local out = {}
  for _, n in ipairs(axes) do if not prim.has(names, n) then out[#out + 1] = n end end
  return out
end

-- Elementwise -----------------------------------------------------------------------------------
local map = prim.map
for _, fn in ipairs { "lt", "le", "gt", "ge", "eq", "ne" } do
  V[fn] = function(a, b) return map(fn, a, b) end
end
for _, fn in ipairs { "exp", "exp2", "log", "sqrt", "tanh", "erf", "abs", "floor", "round", "int", "float",
  "sin", "cos", "sign", "sigmoid" } do
  V[fn] = function(a) return map(fn, a) end
end
V.atleast = function(a, b) return map("max", a, b) end     -- elementwise; :max reduces
V.atmost = function(a, b) return map("min", a, b) end
function V:clamp(lo, hi) return self:atleast(lo):atmost(hi) end
function lap.where(c, a, b) return map("select", c, a, b) end
local casts = { f32 = "float", i64 = "int", f16 = "f16", bf16 = "bf16", i32 = "i32", i8 = "i8", i4 = "i4" }
function V:to(dtype)                               -- rounded to a storage type
  return map(casts[dtype] or fail("no storage type '%s'%s", tostring(dtype),
    prim.hint(tostring(dtype), prim.sorted(casts))), self)
end

-- Leaves ----------------------------------------------------------------------------------------
function G:number(x) return prim.lift(x) end
function G:index(name, size) return prim.index(name, size) end
-- The coordinate along an axis of a value, ragged with it where the extent varies over nothing else.
local function own_count(x, name)
  local count = prim.count(x, name)
  return count and #prim.axes(count) == 0 and count or nil
end
function V:index(name) return prim.index(name, V.size(self, name), own_count(self, name)) end

function G:given(name)                             -- is there such a weight in the checkpoint?
  local have = prim.build.weights
  return have == nil or have[(name:gsub("{k}", "0"))] == true
end
-- Refuses a checkpoint with a weight that has no place under these parameters.
function G:absent(name, why)
  local have = prim.build.weights
  if have and have[name] then fail("the checkpoint has a weight '%s', but %s", name, why) end
end
function G:weight(name, spec, sizes, dtype)
  local b = prim.build
  if type(name) ~= "string" then fail("expected the name of a weight, found %s", prim.kind(name)) end
  if not self:given(name) then
    fail("no weight '%s' in the checkpoint%s", name, prim.hint(name, b.weight_names))
  end
  local key = name .. "\0" .. tostring(spec)
  local seen, w = b.unsized[key], nil
  if seen and not sizes then return seen end       -- read again: the same symbols
  w = prim.leaf("weight", name, spec, sizes, dtype or "f32")
  if not sizes then b.unsized[key] = w end
  if not b.seen[name] then
    b.seen[name] = true
    self.weights[#self.weights + 1] = w
  end
  return w
end
function G:output(name, x, spec, o)
  if type(name) ~= "string" then fail("an output needs a name, found %s", prim.kind(name)) end
  if type(x) == "table" then fail("output '%s' is several results\nhint: name one, as in o.out", name) end
  prim.output(name, x, spec, o and o.crop)
end
-- Refuses sizes or data: an error with the message unless the condition holds everywhere.
function G:require(cond, message)
  if type(message) ~= "string" then fail("require needs a message") end
  local known = prim.const(cond)
  if known == false then fail("%s", message) end
  if known ~= true then prim.require(cond, message) end
end
-- A constant over named axes, whose sizes come from the tensors or tables {axis = size} given.
function G:full(value, spec, ...)
  local names, type_, from = prim.words(spec), {}, { ... }
  for i, n in ipairs(names) do
    local size, count
    for _, x in ipairs(from) do
      if size ~= nil then break end
      if prim.is_value(x) then size, count = prim.size(x, n), own_count(x, n) else size = x[n] end
    end
    if size == nil then fail("no value given has axis '%s'", n) end
    type_[i] = { n, size, count }
  end
  type_.dtype = math.type(value) == "integer" and "i64" or type(value) == "boolean" and "bool" or "f32"
  return prim.emit("full", {}, { value = value }, nil, type_)
end
function G:zeros(spec, ...) return self:full(0.0, spec, ...) end
function G:list(axis, values)                      -- a constant vector
  if #values == 0 then fail("a list along '%s' needs a number", tostring(axis)) end
  return lap.stack(axis, values)
end
