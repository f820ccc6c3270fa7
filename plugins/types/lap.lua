---@meta lap
-- Annotations of the surface for editors (LuaLS); never run. See docs/language.md.

---@alias lap.Scalar number|boolean|lap.Dim
---@alias lap.Operand lap.Tensor|lap.Scalar
---@alias lap.Extent integer|lap.Dim
---@alias lap.Spec string|lap.Pack axis names, "y x" or "n -> m"

---An exact symbolic extent.
---@class lap.Dim
---@operator add(lap.Extent): lap.Dim
---@operator sub(lap.Extent): lap.Dim
---@operator mul(lap.Extent): lap.Dim
---@operator div(lap.Extent): lap.Dim
---@operator idiv(lap.Extent): lap.Dim
---@operator mod(lap.Extent): lap.Dim
---@operator pow(number): lap.Tensor

---@class lap.Pack
---@operator concat(string): string
local Pack = {}
---@param stem? string
---@return lap.Pack
function Pack:fresh(stem) end
---@return any[]
function Pack:each(v, missing) end
---@return table<string, any>
function Pack:sizes(v, into) end

---@class lap.Tensor
---@field g lap.Graph
---@field dtype string
---@operator add(lap.Operand): lap.Tensor
---@operator sub(lap.Operand): lap.Tensor
---@operator mul(lap.Operand): lap.Tensor
---@operator div(lap.Operand): lap.Tensor
---@operator idiv(lap.Operand): lap.Tensor
---@operator mod(lap.Operand): lap.Tensor
---@operator pow(lap.Operand): lap.Tensor
---@operator band(lap.Operand): lap.Tensor
---@operator bor(lap.Operand): lap.Tensor
---@operator bnot: lap.Tensor
---@operator unm: lap.Tensor
---@field lt fun(a: lap.Operand, b: lap.Operand): lap.Tensor
---@field le fun(a: lap.Operand, b: lap.Operand): lap.Tensor
---@field gt fun(a: lap.Operand, b: lap.Operand): lap.Tensor
---@field ge fun(a: lap.Operand, b: lap.Operand): lap.Tensor
---@field eq fun(a: lap.Operand, b: lap.Operand): lap.Tensor
---@field ne fun(a: lap.Operand, b: lap.Operand): lap.Tensor
---@field atleast fun(a: lap.Tensor, b: lap.Operand): lap.Tensor
---@field atmost fun(a: lap.Tensor, b: lap.Operand): lap.Tensor
---@field clamp fun(a: lap.Tensor, lo: lap.Operand, hi: lap.Operand): lap.Tensor
---@field exp fun(a: lap.Tensor): lap.Tensor
---@field exp2 fun(a: lap.Tensor): lap.Tensor
---@field log fun(a: lap.Tensor): lap.Tensor
---@field sqrt fun(a: lap.Tensor): lap.Tensor
---@field tanh fun(a: lap.Tensor): lap.Tensor
---@field erf fun(a: lap.Tensor): lap.Tensor
---@field abs fun(a: lap.Tensor): lap.Tensor
---@field floor fun(a: lap.Tensor): lap.Tensor
---@field round fun(a: lap.Tensor): lap.Tensor
---@field int fun(a: lap.Tensor): lap.Tensor
---@field float fun(a: lap.Tensor): lap.Tensor
---@field sin fun(a: lap.Tensor): lap.Tensor
---@field cos fun(a: lap.Tensor): lap.Tensor
---@field sign fun(a: lap.Tensor): lap.Tensor
---@field sigmoid fun(a: lap.Tensor): lap.Tensor
---@field to fun(a: lap.Tensor, dtype: "f32"|"f16"|"bf16"|"i64"|"i32"|"i8"|"i4"): lap.Tensor
---@field size fun(x: lap.Tensor, axis: string): lap.Extent
---@field count fun(x: lap.Tensor, axis: string): lap.Tensor|nil
---@field has fun(x: lap.Tensor, axis: string): boolean
---@field axes fun(x: lap.Tensor): string[]
---@field index fun(x: lap.Tensor, axis: string): lap.Tensor
---@field at fun(x: lap.Tensor, place: table<string, lap.Operand>|string, index_or_fill?: lap.Operand, fill?: number): lap.Tensor
---@field as fun(x: lap.Tensor, spec: lap.Spec): lap.Tensor
---@field queries fun(q: lap.Tensor, spec: lap.Spec, ...: lap.Tensor): lap.Tensor ...
---@field ragged fun(x: lap.Tensor, axis: string, count: lap.Operand): lap.Tensor
---@field expect fun(x: lap.Tensor, sizes: table<string, lap.Extent>): lap.Tensor
---@field split fun(x: lap.Tensor, spec: lap.Spec, sizes: table<string, lap.Extent>): lap.Tensor
---@field merge fun(x: lap.Tensor, spec: lap.Spec): lap.Tensor
---@field blocks fun(x: lap.Tensor, spec: lap.Spec, size: lap.Extent): lap.Tensor
---@field slice fun(x: lap.Tensor, axis: string, start: lap.Operand, len: lap.Extent): lap.Tensor
---@field pad fun(x: lap.Tensor, axis: string, before: lap.Extent, after: lap.Extent, fill?: number): lap.Tensor
---@field flip fun(x: lap.Tensor, axis: string): lap.Tensor
---@field roll fun(x: lap.Tensor, axis: string, by: lap.Operand): lap.Tensor
---@field window fun(x: lap.Tensor, spec: lap.Spec, o: lap.Window): lap.Tensor
---@field windows fun(x: lap.Tensor, grid: lap.Spec, taps: lap.Spec, o: lap.Window): lap.Tensor
---@field unstack fun(x: lap.Tensor, axis: string): lap.Tensor ...
---@field cut fun(x: lap.Tensor, axis: string, ...: lap.Extent): lap.Tensor ...
---@field unit fun(x: lap.Tensor, axis: string): lap.Tensor
---@field drop fun(x: lap.Tensor, axis: string, start: lap.Operand, len: lap.Extent): lap.Tensor
---@field insert fun(x: lap.Tensor, axis: string, start: lap.Operand, part: lap.Tensor): lap.Tensor
---@field append fun(x: lap.Tensor, axis: string, count: lap.Operand, entry: lap.Tensor): lap.Tensor
---@field sum fun(x: lap.Tensor, axes?: lap.Spec): lap.Tensor
---@field max fun(x: lap.Tensor, axes?: lap.Spec): lap.Tensor
---@field min fun(x: lap.Tensor, axes?: lap.Spec): lap.Tensor
---@field prod fun(x: lap.Tensor, axes?: lap.Spec): lap.Tensor
---@field any fun(x: lap.Tensor, axes?: lap.Spec): lap.Tensor
---@field all fun(x: lap.Tensor, axes?: lap.Spec): lap.Tensor
---@field mean fun(x: lap.Tensor, axes?: lap.Spec): lap.Tensor
---@field var fun(x: lap.Tensor, axes?: lap.Spec): lap.Tensor
---@field argmax fun(x: lap.Tensor, axis: string): lap.Tensor
---@field argmin fun(x: lap.Tensor, axis: string): lap.Tensor
---@field dot fun(x: lap.Tensor, w: lap.Operand, axes: lap.Spec): lap.Tensor
---@field softmax fun(x: lap.Tensor, axes: lap.Spec): lap.Tensor
---@field log_softmax fun(x: lap.Tensor, axes: lap.Spec): lap.Tensor
---@field cumsum fun(x: lap.Tensor, axis: string): lap.Tensor
---@field topk fun(x: lap.Tensor, spec: lap.Spec, k: lap.Operand, o?: {smallest?: boolean, order?: "position"}): lap.Top
---@field sort fun(x: lap.Tensor, spec: lap.Spec, o?: {smallest?: boolean}): lap.Top
---@field argsort fun(x: lap.Tensor, spec: lap.Spec, o?: {smallest?: boolean}): lap.Tensor
---@field keep fun(mask: lap.Tensor, spec: lap.Spec): {index: lap.Tensor, count: lap.Tensor}
---@field top fun(x: lap.Tensor, axis: string, k: lap.Operand, o?: {smallest?: boolean}): lap.Tensor
---@field scatter fun(x: lap.Tensor, over: lap.Spec, place: table<string, lap.Operand>, sizes: table<string, lap.Extent>, o?: {mode?: "add"|"set"|"max", base?: number}): lap.Tensor

---@class lap.Window
---@field size lap.Extent|lap.Extent[]
---@field stride? lap.Extent|lap.Extent[]
---@field dilation? lap.Extent|lap.Extent[]
---@field pad? lap.Extent|lap.Extent[]
---@field count? lap.Extent|lap.Extent[]
---@field fill? number

---@class lap.Top
---@field values lap.Tensor
---@field index lap.Tensor

---@class lap.Part
---@field keys lap.Spec
---@field score lap.Operand
---@field value? lap.Operand
---@field where? lap.Operand
---@field after? lap.Operand

---@class lap.Attend: lap.Part
---@field parts? lap.Part[]
---@field norm? "softmax"|"sum"|"none"
---@field empty? number
---@field eps? number

---@class lap.Attended
---@field out lap.Tensor
---@field lse lap.Tensor
---@field max lap.Tensor
---@field sum lap.Tensor
---@field weights lap.Tensor

---@class lap.Graph
---@field p table<string, any> parameters
---@field weights lap.Tensor[] in order of first use
local G = {}
---@return lap.Tensor
function G:weight(name, layout, sizes, dtype) end
---@return boolean
function G:given(name) end
---@param name string
---@param why string
function G:absent(name, why) end
---@return lap.Tensor
function G:index(axis, size) end
---@return lap.Tensor
function G:number(x) end
---@return lap.Tensor
function G:full(value, axes, ...) end
---@return lap.Tensor
function G:zeros(axes, ...) end
---@return lap.Tensor
function G:list(axis, values) end
---@param o? {crop?: table<string, lap.Tensor>}
function G:output(name, x, layout, o) end
---@param condition lap.Operand
---@param message string
function G:require(condition, message) end
---@return string
function G:axis(stem) end
---@param o lap.Attend
---@return lap.Attended
function G:attend(o) end
---@param o {along: string, state: table<string, lap.Operand>, inputs?: table<string, lap.Operand>, steps?: lap.Extent, reverse?: boolean, body: fun(s: table, t: table, i: lap.Tensor): table, table?}
---@return table<string, lap.Tensor>
function G:scan(o) end
---@param o {state: table<string, lap.Operand>, limit: lap.Extent, body: fun(s: table): table, test?: fun(s: table): lap.Tensor}
---@return table<string, lap.Tensor>
function G:loop(o) end
---@param condition lap.Operand
---@param yes fun(): any
---@param no fun(): any
function G:branch(condition, yes, no) end
function G:call(f, ...) end
---@param o {value: lap.Operand, inputs?: lap.Tensor[], grad?: fun(d: lap.Tensor): lap.Tensor[]}
---@return lap.Tensor
function G:custom(o) end
---@param operands (lap.Operand|table)[]
---@param results table<string, string|table>
---@return table<string, lap.Tensor>
function G:foreign(name, operands, results) end

---@class lap
local lap = {}
---@return lap.Tensor
function lap.where(condition, a, b) end
---@param parts lap.Operand[]
---@return lap.Tensor
function lap.stack(axis, parts) end
---@param parts lap.Tensor[]
---@return lap.Tensor
function lap.cat(axis, parts) end
---@return string
function lap.axis(stem) end
---@return lap.Pack
function lap.pack(axes) end
---@return function
function lap.func(name, body) end
---@return lap.Tensor
function lap.stop(x) end
---@param seeds { [1]: lap.Tensor, [2]: lap.Operand }[]
---@param wrt lap.Tensor[]
---@return lap.Tensor[]
function lap.grad(seeds, wrt) end
---Reports an error at the caller's line.
function lap.fail(format, ...) end

lap.dim = {}
---@return lap.Dim
function lap.dim.symbol(name) end
---@return lap.Extent
function lap.dim.exact(a, b) end
---@return lap.Extent
function lap.dim.ceil(a, b) end
---@return lap.Extent
function lap.dim.min(...) end
---@return lap.Extent
function lap.dim.max(...) end
---Rounded towards zero, in double precision.
---@return lap.Extent
function lap.dim.trunc(factor, extent) end
---@return boolean
function lap.dim.is(x) end
---@return boolean
function lap.dim.same(a, b) end

return lap
