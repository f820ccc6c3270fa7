-- SPDX-License-Identifier: Apache-2.0
-- Depthwise convolutions of four sizes, a deformable convolution before a selective scan in four
-- directions, an MLP; and the fusion of parallel resolutions.
local lap, nn, selective = require "lap", require "lib.nn", require "lib.selective"

local function pointwise(x, name, spec, sizes, bias)
  return nn.linear(x, name, spec, sizes, { bias = bias or false })
end

-- Quarter g of the channels by a (2g+3)^2 kernel; then a shuffle: channel (g, c) goes to 4 c + g.
local function multi_kernel(x)
  local parts = { nn.chunk(x, "c", 4) }
  for i, part in ipairs(parts) do
    parts[i] = nn.depthwise(part, "conv2d." .. i - 1, "c", { k = 2 * i + 1 })
  end
  return lap.stack("g", parts):merge "c g -> c"
end

-- Group g at a pixel: sum over 9 taps t of weight_t value(pixel + (base_t + offset_t) scale). A tap's
-- column is the outer index; per group there are 18 offsets (column, row) and 9 weights.
local function deform(g, p, x, pre)
  local G = p.dt_rank
  local s = { g = G, e = x:size "d" // G, m = (27 * G + 7) // 8 * 8, d = x:size "d" }
  local v = pointwise(x, pre .. "value_proj", "d -> (g e)", s, true)
  local src = x
  if p.dw_kernel > 0 then
    src = nn.depthwise(x, pre .. "offset_mask_dw", "d", { k = p.dw_kernel })
  end
  local o = pointwise(src, pre .. "offset_mask", "d -> m", s, true)
  local first, t = g:index("g", G) * 27, g:index("t", 9)
  local dx, dy = o:at("m", first + 2 * t), o:at("m", first + 2 * t + 1)
  local weight = o:at("m", first + 18 + t)
  local px = x:index "x" + (t // 3 - 1 + dx) * p.offset_scale
  local py = x:index "y" + (t % 3 - 1 + dy) * p.offset_scale
  local y = (weight * nn.bilinear(v, py, px)):sum "t"
  return pointwise(y, pre .. "output_proj", "(g e) -> d", s)
end

local function ss2d(g, p, x)
  local s, u, z = { half = 2, d = math.floor(p.ssm_ratio * p.dim), c = p.dim }, nil, nil
  if p.gate then
    u, z = pointwise(x, "op.in_proj", "c -> (half d)", s):unstack "half"
  else
    u = pointwise(x, "op.in_proj", "c -> d", s)
  end
  u = deform(g, p, u, "op.conv2d.")
  local y = selective.scan(g, nn.silu(u), "op.", selective.cross, { rank = p.dt_rank, states = p.d_state })
  y = nn.layernorm(y, "op.out_norm", "d")
  y = pointwise(z and y * nn.silu(z) or y, "op.out_proj", "d -> c", s)
  g:output("deform_out", u, "b d y x")
  g:output("ss2d_out", y, "b c y x")
  return y
end

local function mlp(p, x)
  local s, h = { half = 2, f = math.floor(p.dim * p.mlp_ratio), c = p.dim }, nil
  if p.gmlp then
    local a, z = pointwise(x, "mlp.fc1", "c -> (half f)", s, true):unstack "half"
    h = a * nn.gelu(z)
  else
    h = nn.gelu(pointwise(x, "mlp.fc1", "c -> f", s, true))
  end
  return pointwise(h, "mlp.fc2", "f -> c", s, true)
end

local function block(g, p, x)
  local function norm(y, name, on) return on and nn.layernorm(y, name, "c") or y end
  local function add(y, f, name, act)              -- y + f(LN y), or y + LN(f(y))
    local z = norm(f(norm(y, name, not p.post_norm)), name, p.post_norm)
    return y + (act and act(z) or z)
  end
  x = add(x, multi_kernel, "norm0", nn.gelu)
  x = add(x, function(y) return ss2d(g, p, y) end, "norm")
  if math.floor(p.dim * p.mlp_ratio) > 0 then
    x = add(x, function(y) return mlp(p, y) end, "norm2")
  end
  g:output("out", x, "b c y x")
end

-- T_ij x_j: up by a 1x1 convolution and a resize, down by strided depthwise steps.
local function brought(p, x, i, j, to)
  local pre = ("fuse_layers.%d.%d."):format(i, j)
  local function mix(a, name, c) return nn.conv1x1(a, name, "c -> c", { c = c }, { bias = false }) end
  if j > i then
    x = nn.batchnorm(mix(x, pre .. "0", p.channels[i + 1]), pre .. "1")
    return nn.resize(x, "y x", { y = to:size "y", x = to:size "x" }, { mode = "linear" })
  end
  for k = 0, i - j - 1 do
    local step, is_last = pre .. k .. ".", k == i - j - 1
    x = nn.depthwise(x, step .. "0", "c", { k = 3, stride = 2, bias = false })
    x = mix(nn.batchnorm(x, step .. "1"), step .. "2", p.channels[(is_last and i or j) + 1])
    x = nn.batchnorm(x, step .. "3")
    if not is_last then x = nn.relu(x) end
  end
  return x
end
local function fuse(g, p, t)
  local n = #p.channels
  for i = 0, n - 1 do
    local y, to = 0, t["x" .. i]
    for j = 0, n - 1 do y = y + brought(p, t["x" .. j], i, j, to) end
    g:output("y" .. i, nn.relu(y), "b c y x")
  end
end

local function refuse(p)
  if p.variant == "fuse" then return #p.channels == 0 and "channels must name a branch" or nil end
  local d = math.floor(p.ssm_ratio * p.dim)
  if p.dim % 4 ~= 0 then return "dim must be a multiple of 4" end
  if d < 1 or d % p.dt_rank ~= 0 then return "dt_rank must divide ssm_ratio * dim" end
  if p.dw_kernel ~= 0 and p.dw_kernel % 2 == 0 then return "dw_kernel must be odd, or 0" end
end

return {
  name = "hrvmamba", paper = "HRVMamba: High-Resolution Visual State Space Model for Dense Prediction",
  family = "state space", doc = "the dynamic visual state space block, or the fusion of resolutions",
  reference = "zhanghao5201/HRVMamba (DCNv4: MIT), run, not copied",
  params = {
    variant = { "enum", { "dvss", "fuse" }, "dvss", "the block, or the fusion" },
    dim = { "int", 80, "channels, a multiple of 4", min = 4 },
    d_state = { "int", 1, "states per channel", min = 1 },
    ssm_ratio = { "float", 2.0, "scanned channels over dim", min = 0 },
    dt_rank = { "int", function(p) return (p.dim + 15) // 16 end, "rank of delta, and groups", min = 1 },
    gate = { "bool", false, "a second half of in_proj gates the scan" },
    gmlp = { "bool", false, "a gated MLP" },
    mlp_ratio = { "float", 2.0, "hidden width over dim, 0 = no MLP", min = 0 },
    post_norm = { "bool", false, "norms behind the branches" },
    dw_kernel = { "int", 0, "offsets from a depthwise convolution of this size, 0 = none", min = 0 },
    offset_scale = { "float", 1.0, "scale of taps and offsets" },
    channels = { "list of int", { 40, 80, 160, 320 }, "fuse: channels of the branches", min = 1, max = 8192 },
  },
  dims = { B = 1, H = 64, W = 48 },
  refuse = refuse,
  inputs = function(p)
    if p.variant == "dvss" then return { x = "b=B c=dim y=H x=W" } end
    local ins, n = {}, #p.channels                 -- sizes halve from branch to branch
    for i = 0, n - 1 do
      local f = 1 << (n - 1 - i)
      ins["x" .. i] = ("b=B c=%d y=%d*H x=%d*W"):format(p.channels[i + 1], f, f)
    end
    return ins
  end,
  build = function(g, p, t)
    if p.variant == "fuse" then fuse(g, p, t) else block(g, p, t.x) end
  end,
}
