-- SPDX-License-Identifier: Apache-2.0
-- A convolution whose window holds self-attention; stacks of it shift groups of channels cyclically
-- and pool between layers.
local lap, nn = require "lap", require "lib.nn"

-- Slots outside the map are zero keys and values: attended, with the logit 0.
local function msa_conv(g, p, x, pre, width)
  local C, d, kh, kw = x:size "c", p.dilation, p.kernel_size[1], p.kernel_size[2]
  local q, K, V = nn.conv1x1(x, pre .. "qkv_conv", "c -> (s e)", { s = 3, e = C }):unstack "s"
  local slot = { y = x:index "y" + g:index("i", kh) * d - d * (kh - 1) // 2,
    x = x:index "x" + g:index("j", kw) * d - d * (kw - 1) // 2 }
  local score = q:dot(K:at(slot, 0), "e") * g:number(C) ^ -0.5
  local a = g:attend { keys = "i j", score = score, value = V:at(slot, 0) }.out
  for i, axis in ipairs { "y", "x" } do
    g:require(g:number(x:size(axis) + 2 * p.padding[i]):ge(p.kernel_size[i]),
      "kernel_size exceeds the padded map, the output is empty")
  end
  return nn.relu(nn.conv(x + a:as "e -> c", pre .. "mlp", "c -> c", { k = p.kernel_size,
    stride = p.stride, pad = p.padding, bias = p.bias, sizes = { c = width } }))
end

-- Each group of channels rolled by its own shift, or back.
local function roll(g, p, x, sign)
  local n, by = #p.shifts, {}
  for i, axis in ipairs { "y", "x" } do
    local steps = {}
    for j, shift in ipairs(p.shifts) do steps[j] = sign * shift[i] end
    by[axis] = g:list("g", steps)
  end
  g:require(g:number(x:size "c" % n):eq(0),
    ("shifts names %d groups, which must divide the channels of every layer"):format(n))
  local z = x:split("c -> g c", { g = n })
  return z:at { y = (z:index "y" - by.y) % x:size "y", x = (z:index "x" - by.x) % x:size "x" }
    :merge "g c -> c"
end

local function stack(g, p, x)
  local pool = p.inter_pool == "max" and nn.max_pool or nn.avg_pool
  for i = 0, p.num_layers - 1 do
    local width = lap.dim.symbol("C" .. i + 1)     -- from the weights
    x = msa_conv(g, p, roll(g, p, x, 1), ("layers.%d."):format(i), width)
    x = roll(g, p, x, -1)
    if p.inter_pool and i < p.num_layers - 1 then
      for _, axis in ipairs { "y", "x" } do
        g:require(g:number(x:size(axis)):ge(2), "inter_pool leaves an empty map")
      end
      x = pool(x, "y x", { size = 2 })
    end
  end
  return x
end

local function check_shifts(shifts)
  if #shifts == 0 then return "shifts must not be empty" end
  for _, s in ipairs(shifts) do
    local is_pair = type(s) == "table" and #s == 2
    if not (is_pair and math.type(s[1]) == "integer" and math.type(s[2]) == "integer") then
      return "an entry of shifts must be two integers, rows and columns"
    end
  end
end
local function refuse(p)
  if #p.kernel_size ~= 2 then return "kernel_size needs two numbers" end
  if #p.padding ~= 2 then return "padding needs two numbers" end
  for i, k in ipairs(p.kernel_size) do
    if p.dilation * (k - 1) % 2 ~= 0 then return "dilation*(kernel_size - 1) must be even" end
    if p.part == "tic_stack" and p.padding[i] * 2 ~= k - 1 then
      return "padding of a stack must be (kernel_size - 1)/2"
    end
  end
  if p.part ~= "tic_stack" then return end
  if p.stride ~= 1 then return "stride of a stack must be 1" end
  return check_shifts(p.shifts)
end

local dims = { B = 1, C = 64, H = 56, W = 56, O = 64 }
for i = 1, 64 do dims["C" .. i] = 64 end           -- widths of the layers of a stack

return {
  name = "tic", paper = "TiC: Exploring Vision Transformer in Convolution", family = "window",
  doc = "MSA-Conv, a convolution with attention in its window, or a stack of it",
  reference = "zs670980918/MSA-Conv; the stack: equations",
  params = {
    part = { "enum", { "msa_conv", "tic_stack" }, "msa_conv", "one layer or a stack" },
    kernel_size = { "list of int", { 3, 3 }, "of the window and of the output convolution", min = 1 },
    dilation = { "int", 1, "of the attention window", min = 1 },
    stride = { "int", 1, "of the output convolution", min = 1 },
    padding = { "list of int", { 1, 1 }, "of the output convolution", min = 0 },
    bias = { "bool", false, "bias of the output convolution" },
    num_layers = { "int", 2, "layers of a stack", min = 1, max = 64 },
    shifts = { "list", { { 0, 1 }, { 0, -1 }, { 1, 0 }, { -1, 0 } },
      "stack: rows and columns that each group of channels is rolled by" },
    inter_pool = { "str?", nil, "stack: max or avg pooling between layers" },
  },
  dims = dims,
  refuse = function(p)
    if p.inter_pool and p.inter_pool ~= "max" and p.inter_pool ~= "avg" then
      return "inter_pool must be max or avg"
    end
    return refuse(p)
  end,
  inputs = { x = "b=B c=C y=H x=W" },
  build = function(g, p, t)
    local y = p.part == "tic_stack" and stack(g, p, t.x)
      or msa_conv(g, p, t.x, "", lap.dim.symbol "O")
    g:output("y", y, "b c y x")
  end,
}
