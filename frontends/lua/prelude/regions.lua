-- SPDX-License-Identifier: Apache-2.0
-- regions.lua: bodies given as functions: scan, loop, branch, call, custom; and foreign operations.
local prim = ...
local lap, V, G, fail = prim.lap, prim.V, prim.G, prim.say
local sorted, emit = prim.sorted, prim.emit

local function pick(t, names)
  local out = {}
  for i, n in ipairs(names) do out[i] = t[n] end
  return out
end
local function named(names, values, from)
  local out = {}
  for i, n in ipairs(names) do out[n] = values[(from or 0) + i] end
  return out
end
local function lifted(t)                           -- numbers as states are scalars
  local out = {}
  for _, k in ipairs(sorted(t)) do out[k] = prim.lift(t[k]) end
  return out
end
local function check_table(x, what)
  if type(x) ~= "table" then fail("%s must be a table of values, found %s", what, prim.kind(x)) end
  return x
end
local function next_states(ns, states, names, what)
  check_table(ns, what)
  for _, k in ipairs(sorted(ns)) do
    if not prim.has(names, k) then
      fail("%s gives '%s', which is no state%s", what, k, prim.hint(k, names))
    end
  end
  local out = {}
  for i, k in ipairs(names) do out[i] = ns[k] == nil and states[k] or ns[k] end
  return out
end

-- state_t, emitted_t = body(state_t-1, inputs_t, t) along a named axis, or for `steps` steps.
-- Results: last_<state>, and each emitted value along the axis.
function G:scan(o)
  local state, inputs = lifted(check_table(o.state, "the state of a scan")), lifted(o.inputs or {})
  local st, ins, along = sorted(state), sorted(inputs), o.along
  if along == nil then fail("scan needs an axis: along = \"n\"") end
  local steps, params, args = o.steps, {}, {}
  for i, k in ipairs(st) do params[i] = { x = state[k] }; args[i] = state[k] end
  for _, k in ipairs(ins) do
    params[#params + 1] = { x = inputs[k], drop = along }
    args[#args + 1] = inputs[k]
    if steps == nil then steps = prim.size(inputs[k], along) end
  end
  if steps == nil then fail("no input of the scan has axis '%s', and `steps` is not given", along) end
  params[#params + 1] = { dtype = "i64" }
  local id, ps = prim.region(params)
  local s = named(st, ps)
  local ns, emitted = o.body(s, named(ins, ps, #st), ps[#ps])
  local results = next_states(ns, s, st, "the body of a scan")
  local outs = sorted(check_table(emitted or {}, "what a scan emits"))
  for _, k in ipairs(outs) do results[#results + 1] = prim.lift(emitted[k]) end
  prim.region_end(id, results)
  local node = emit("scan", args,
    { along = along, steps = steps, reverse = o.reverse or false, states = st, outs = outs }, { id })
  local known = { table.unpack(outs) }
  for _, k in ipairs(st) do known[#known + 1] = "last_" .. k end
  return prim.fields(node, known)
end

-- while test(state) and fewer than `limit` rounds: state = body(state). The test may be absent.
function G:loop(o)
  local state = lifted(check_table(o.state, "the state of a loop"))
  local st, params = sorted(state), {}
  if o.limit == nil then fail("loop needs a limit") end
  for i, k in ipairs(st) do params[i] = { x = state[k] } end
  local id, ps = prim.region(params)
  local s = named(st, ps)
  local results = next_states(o.body(s), s, st, "the body of a loop")
  results[#results + 1] = prim.lift(o.test == nil and true or o.test(s))
  prim.region_end(id, results)
  return prim.fields(emit("loop", pick(state, st), { limit = o.limit, states = st }, { id }), st)
end

-- The results of one of two functions, by a scalar condition. A known condition runs only that one.
function G:branch(cond, yes, no)
  local known = prim.const(cond)
  if type(known) == "boolean" then
    if known then return yes() end
    return no()
  end
  local ids, outs, is_single = {}, nil, false
  for i, f in ipairs { yes, no } do
    local id = prim.region {}
    local t = f()
    if prim.is_value(t) or type(t) == "number" then t, is_single = { out = t }, true end
    local names = sorted(check_table(t, "the result of a branch"))
    if outs and table.concat(outs, " ") ~= table.concat(names, " ") then
      fail("the branches give different results: '%s' and '%s'",
        table.concat(outs, " "), table.concat(names, " "))
    end
    outs = names
    prim.region_end(id, pick(lifted(t), names))
    ids[i] = id
  end
  local node = emit("branch", { cond }, { outs = outs }, ids)
  local fields = prim.fields(node, outs)
  return is_single and fields.out or fields
end

-- A function of tensors compiled once and called many times: f = lap.func("layer", function(x, k) ... end)
local function signature(args)
  local out = {}
  for i, x in ipairs(args) do
    local t = { prim.show(x) }
    for _, a in ipairs(prim.axes(x)) do t[#t + 1] = tostring(prim.count(x, a) ~= nil and a or "") end
    out[i] = table.concat(t, ",")
  end
  return table.concat(out, ";")
end
function lap.func(name, body)
  if type(name) ~= "string" or type(body) ~= "function" then fail("func needs a name and a function") end
  local made, build = {}, nil
  return function(...)
    if build ~= prim.build then made, build = {}, prim.build end
    local args = { ... }
    for i = 1, select("#", ...) do args[i] = prim.lift(args[i]) end
    local key = signature(args)
    local f = made[key]
    if not f then
      local params = {}
      for i, x in ipairs(args) do params[i] = { x = x } end
      local id, ps = prim.region(params)
      local t = body(table.unpack(ps))
      f = { id = id, is_single = prim.is_value(t) }
      if f.is_single then t = { out = t } end
      f.outs = sorted(check_table(t, "the result of function '" .. name .. "'"))
      prim.region_end(id, pick(lifted(t), f.outs))
      made[key] = f
    end
    local fields = prim.fields(emit("call", args, { name = name, outs = f.outs }, { f.id }), f.outs)
    return f.is_single and fields.out or fields
  end
end
function G:call(f, ...) return f(...) end

-- `value` computed as you like, differentiated by grad(d) -> { d of each input } instead.
function G:custom(o)
  local value, inputs = prim.lift(o.value), o.inputs or {}
  local id, ps = prim.region { { x = value, dtype = "f32" } }
  local grads = o.grad and check_table(o.grad(ps[1]), "the gradients of a custom rule") or {}
  if #grads ~= #inputs then fail("the custom rule gives %d gradients for %d inputs", #grads, #inputs) end
  for i, x in ipairs(inputs) do
    grads[i] = prim.lift(grads[i])
    for _, a in ipairs(prim.axes(grads[i])) do
      if prim.size(x, a) == nil then
        fail("gradient %d of the custom rule is %s, its input is %s", i, prim.show(grads[i]), prim.show(x))
      end
    end
  end
  prim.region_end(id, grads)
  return emit("custom", { value, table.unpack(inputs) }, {}, { id })
end
function lap.stop(x) return prim.build.g:custom { value = x } end      -- no gradient passes

-- An operand of a foreign operation and the memory order in which it is seen: x, or { x, "b n" }.
local function seen(x)
  if type(x) ~= "table" or prim.is_value(x) then x = prim.lift(x) return x, prim.axes(x) end
  local value, order = prim.lift(x[1]), prim.words(x[2])
  for _, n in ipairs(prim.axes(value)) do
    if not prim.has(order, n) then fail("the order '%s' lacks axis '%s'", x[2], n) end
  end
  return value, order
end

-- An operation of a C library: g:foreign("name", { operands }, { out = "f32 b n", ... }). The sizes of
-- results are those of the operands' axes of that name, or given: { "f32 b n", n = x:size "n" / 2 }.
function G:foreign(name, operands, results)
  local outs = sorted(check_table(results, "the results of a foreign operation"))
  local types, args, order = {}, {}, {}
  for i, x in ipairs(check_table(operands, "the operands of a foreign operation")) do
    local axes
    args[i], axes = seen(x)
    table.move(axes, 1, #axes, #order + 1, order)
  end
  for _, k in ipairs(outs) do
    local own = type(results[k]) == "table" and results[k] or { results[k] }
    if type(own[1]) ~= "string" then fail("result '%s' needs its type and axes, such as \"f32 b n\"", k) end
    local dtype, spec = prim.typed(own[1])
    local axes = { dtype = dtype }
    for i, n in ipairs(prim.words(spec)) do
      if own[n] ~= nil then axes[i] = { n, own[n] } end
      for _, x in ipairs(args) do
        if not axes[i] and prim.size(x, n) ~= nil then axes[i] = { n, prim.size(x, n), prim.count(x, n) } end
      end
      if not axes[i] then fail("no operand of '%s' has axis '%s'", name, n) end
    end
    types[k] = axes
  end
  if #outs == 0 then fail("a foreign operation needs a result") end
  local attrs, fields = { name = name, outs = outs, order = order }, {}
  local node = emit("foreign", args, attrs, nil, types[outs[1]])
  for _, k in ipairs(outs) do fields[k] = prim.result(node, k, types[k]) end
  return fields
end

-- grad({ { value, cotangent }, ... }, { inputs ... }) -> list of gradients
function lap.grad(seeds, wrt)
  local values, cotangents, inputs = {}, {}, {}
  for i, s in ipairs(check_table(seeds, "the seeds of grad")) do
    values[i], cotangents[i] = s[1], prim.lift(s[2])
  end
  for i, x in ipairs(check_table(wrt, "the inputs of grad")) do inputs[i] = x end
  return prim.grad(values, cotangents, inputs)
end
