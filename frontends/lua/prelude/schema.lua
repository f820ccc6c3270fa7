-- SPDX-License-Identifier: Apache-2.0
-- schema.lua: what a model declares, and one build: parameters checked, refusals asked, inputs made.
local prim = ...
local lap, V, G, fail = prim.lap, prim.V, prim.G, prim.say
local sorted = prim.sorted

local module_keys = {
  name = "string", paper = "string", authors = "string", year = "number", doc = "string",
  family = "string", reference = "string",
  params = "table", inputs = "any", refuse = "function", build = "function", cost = "any", schedule = "any",
  outputs = "any", dims = "table", made = "table", bench = "table" }
local scalars = {
  int = function(v) return type(v) == "number" and math.tointeger(v) or nil end,
  float = function(v) return type(v) == "number" and v + 0.0 or nil end,
  bool = function(v) if type(v) == "boolean" then return v end end,
  str = function(v) return type(v) == "string" and v or nil end,
  list = function(v) return type(v) == "table" and v or nil end,
  any = function(v) return v end,
}
local function list_of(item)
  return function(v)
    if type(v) ~= "table" then return nil end
    local out = {}
    for i, x in ipairs(v) do
      out[i] = item(x)
      if out[i] == nil then return nil end
    end
    return out
  end
end

-- A row { "int", default, "doc", min = 1, max = 9 } or { "enum", { choices }, default, "doc" } as one
-- record; a type that ends in "?" may be absent, one without default must be given.
local function read_row(name, row)
  if type(row) ~= "table" or type(row[1]) ~= "string" then
    fail("parameter '%s' must be declared like { \"int\", 8 }", name)
  end
  local text, optional = row[1]:gsub("%?$", "")
  local at = text == "enum" and 3 or 2
  local r = { name = name, type = row[1], default = row[at], doc = row[at + 1] or row.doc }
  r.min, r.max = row.min, row.max
  r.is_optional = optional == 1
  r.required = r.default == nil and not r.is_optional
  if text == "enum" then
    r.choices = row[2]
    if type(r.choices) ~= "table" or #r.choices == 0 then fail("parameter '%s' lists no choices", name) end
    for i, c in ipairs(r.choices) do
      if type(c) ~= "string" then fail("choice %d of parameter '%s' is no string", i, name) end
    end
    r.type = table.concat(r.choices, "|") .. (r.is_optional and "?" or "")
    r.read = function(v) return prim.has(r.choices, v) and v or nil end
  else
    local item = text:match "^list of (.*)$"
    r.read = scalars[text] or (item and scalars[item] and list_of(scalars[item]))
    if not r.read then
      fail("parameter '%s' has no type '%s'%s", name, text, prim.hint(text, sorted(scalars)))
    end
  end
  if r.doc ~= nil and type(r.doc) ~= "string" then
    fail("the description of parameter '%s' is no string", name)
  end
  return r
end

local function describe(v)
  if type(v) == "string" then return #v > 60 and "'" .. v:sub(1, 60) .. "...'" or "'" .. v .. "'" end
  if type(v) == "table" then return "a list" end
  return tostring(v)
end
local function check_range(r, v)
  for _, x in ipairs(type(v) == "table" and v or { v }) do
    if type(x) == "number" and r.min and x < r.min then
      fail("parameter '%s' must be at least %s, found %s", r.name, tostring(r.min), tostring(x))
    end
    if type(x) == "number" and r.max and x > r.max then
      fail("parameter '%s' must be at most %s, found %s", r.name, tostring(r.max), tostring(x))
    end
  end
end
local function check_value(r, v)
  local read = r.read(v)
  if read == nil then
    local hint = r.choices and type(v) == "string" and prim.hint(v, r.choices) or ""
    local wanted = r.choices and "one of " .. r.type or r.type
    fail("parameter '%s' must be %s, found %s%s", r.name, wanted, describe(v), hint)
  end
  check_range(r, read)
  return read
end

local function rows_of(model)
  local rows = {}
  for i, name in ipairs(sorted(model.params or {})) do rows[i] = read_row(name, model.params[name]) end
  return rows
end

-- Sizes and values of made-up inputs: integers, or text in the words of extents and of parameters p.
local function extents(t, what, p)
  local out = {}
  local function number(word) return math.type(p[word]) == "integer" and "(" .. p[word] .. ")" or nil end
  for i, k in ipairs(sorted(t or {})) do
    local v = t[k]
    if math.type(v) ~= "integer" and type(v) ~= "string" then
      fail(what .. " must be an integer or the text of an extent, found %s", k, prim.kind(v))
    end
    out[i] = { name = k, extent = tostring(v):gsub("[%a_][%w_]*", number) }
  end
  return out
end

function prim.describe(model, stem)
  for _, k in ipairs(sorted(model)) do
    local want = module_keys[k]
    if not want then fail("a model has no field '%s'%s", k, prim.hint(k, sorted(module_keys))) end
    if want ~= "any" and type(model[k]) ~= want then
      fail("the field '%s' of a model must be a %s, found %s", k, want, prim.kind(model[k]))
    end
  end
  if not model.build then fail("a model needs `build`, a function (g, p, t)") end
  if type(model.inputs) ~= "table" and type(model.inputs) ~= "function" then
    fail("a model needs `inputs`: { x = \"b n c\" }, or a function of the parameters")
  end
  local rows = rows_of(model)
  for _, r in ipairs(rows) do
    if r.default ~= nil and type(r.default) ~= "function" then check_value(r, r.default) end
    if type(r.default) == "function" then r.default = nil end
  end
  if model.year and math.type(model.year) ~= "integer" then
    fail("the field 'year' of a model must be an integer, found %s", tostring(model.year))
  end
  return { name = model.name or stem, paper = model.paper, authors = model.authors, year = model.year,
    doc = model.doc, family = model.family, reference = model.reference, params = rows }
end

local function resolve(model, given, proposed)
  local p, rows, names = {}, rows_of(model), {}
  for i, r in ipairs(rows) do names[i] = r.name end
  for _, t in ipairs { given, proposed } do
    for _, k in ipairs(sorted(t)) do
      if not prim.has(names, k) then fail("no parameter '%s'%s", k, prim.hint(k, names)) end
    end
  end
  for _, r in ipairs(rows) do                      -- first what is given or constant
    local v = given[r.name]
    if v == nil then v = proposed[r.name] end
    if v == nil and type(r.default) ~= "function" then v = r.default end
    if v ~= nil then p[r.name] = check_value(r, v) end
    if v == nil and r.required then fail("parameter '%s' must be given (%s)", r.name, r.type) end
  end
  for _, r in ipairs(rows) do                      -- then defaults that follow from the others
    if p[r.name] == nil and type(r.default) == "function" then
      local v = r.default(p)
      if v ~= nil then p[r.name] = check_value(r, v) end
    end
  end
  return p
end

-- "int b n" -> "i64", "b n"
local types = { int = "i64", float = "f32", f32 = "f32", f16 = "f16", bf16 = "bf16", i64 = "i64", i32 = "i32",
  i8 = "i8", i4 = "i4", bool = "bool" }
function prim.typed(spec)
  local word, rest = spec:match "^%s*(%w+)%s*(.*)$"
  if word and types[word] then return types[word], rest end
  return "f32", spec
end

local function read_inputs(model, p)
  local declared, rows, names = model.inputs, {}, {}
  if type(declared) == "function" then declared = declared(p) end
  if type(declared) ~= "table" then fail("`inputs` must give a table, found %s", prim.kind(declared)) end
  for i, name in ipairs(sorted(declared)) do
    local spec = declared[name]
    if type(spec) ~= "string" then
      fail("the layout of input '%s' must be a string, found %s", name, prim.kind(spec))
    end
    local body, optional = spec:gsub("^%s*%?%s*", "")
    local dtype, layout = prim.typed(body)
    names[i], rows[i] = name, { name = name, dtype = dtype, layout = layout, optional = optional == 1 }
  end
  return rows, names
end

local function present(rows, names, inputs)        -- which of the declared inputs there are
  local have = {}
  for _, r in ipairs(rows) do have[r.name] = not r.optional or nil end
  for _, n in ipairs(inputs or {}) do
    if not prim.has(names, n) then fail("the model has no input '%s'%s", n, prim.hint(n, names)) end
    have[n] = true
  end
  return have
end

-- for_bench: parameters that are not given are those that the model proposes to be timed with.
function prim.run(model, given, inputs, weights, for_bench)
  prim.fresh_reset()
  local g = setmetatable({ weights = {} }, G)
  local have
  if weights then
    have = {}
    for _, w in ipairs(weights) do have[w] = true end
  end
  prim.build = { g = g, weights = have, weight_names = weights or {}, seen = {}, unsized = {} }
  prim.setup(g, {})
  local p = resolve(model, given, for_bench and model.bench or {})
  g.p = p
  prim.setup(g, p)
  local dims = extents(model.dims, "the size of '%s' in dims", p)
  local made = extents(model.made, "the value of '%s' in made", p)
  local rows, names = read_inputs(model, p)
  local have_inputs = present(rows, names, inputs)
  if model.refuse then
    local why = model.refuse(p, have_inputs)
    if why then fail("%s", tostring(why)) end
  end
  local t = {}
  for _, r in ipairs(rows) do
    if have_inputs[r.name] then
      t[r.name] = prim.leaf("input", r.name, r.layout, nil, r.dtype, r.optional, prim.line_of(r.name))
    end
  end
  local is_fixed = type(model.inputs) == "table"   -- else other parameters may declare what is absent here
  model.build(g, p, setmetatable(t, { __index = function(_, k)
    if is_fixed and not prim.has(names, k) then
      fail("the model has no input '%s'%s", tostring(k), prim.hint(tostring(k), names))
    end
  end }))
  if prim.n_outputs() == 0 then fail("the model gives no output\nhint: g:output(\"y\", y, \"b n c\")") end
  local values = {}
  for i, k in ipairs(sorted(p)) do values[i] = { name = k, value = p[k] } end
  return { inputs = rows, dims = dims, made = made, params = values }
end

-- Methods become C functions: a C function that is called in tail position keeps its caller's frame, so
-- errors and nodes have the line of `return x:split(..)`.
for _, methods in ipairs { V, G, lap } do
  for _, k in ipairs(sorted(methods)) do
    if type(methods[k]) == "function" and k ~= "__index" then methods[k] = prim.framed(methods[k]) end
  end
end
