-- SPDX-License-Identifier: Apache-2.0
-- Channels in three parts: wavelets and a scan in two directions (global), a depthwise convolution
-- (local), and nothing at all; joined by a projection between residuals.
local lap, nn, selective = require "lap", require "lib.nn", require "lib.selective"
local ceil = lap.dim.ceil

local function pointwise(x, name, spec, sizes)
  return nn.conv_bn(x, name, spec, { k = 1, sizes = sizes })
end
local function ffn(x, pre)
  local y = nn.relu(pointwise(x, pre .. "pw1", "c -> f", { f = 2 * x:size "c" }))
  return x + pointwise(y, pre .. "pw2", "f -> c", { c = x:size "c" })
end

local function ss2d(g, p, x, pre)
  local C = x:size "c"
  local s = { half = 2, d = math.floor(p.ssm_ratio * C), c = C }
  local u, z = pointwise(x, pre .. "in_proj", "c -> (half d)", s):unstack "half"
  u = nn.silu(nn.depthwise(u, pre .. "conv2d", "d", { k = 3 }))
  local orders = { { "y x" }, { "y x", reverse = true } }
  local y = selective.scan(g, u, pre, orders, { rank = ceil(C, 16), states = p.d_state })
  y = nn.layernorm(y, pre .. "out_norm", "d")
  return pointwise(y * nn.silu(z), pre .. "out_proj", "d -> c", s)
end

-- Haar analysis level by level, a depthwise convolution of every band, synthesis from the last up.
local function wavelet(g, x, pre, k, levels)
  local s, f, sy, sx = { c = x:size "c", f = 4 }, g:index("f", 4), g:index("sy", 2), g:index("sx", 2)
  local haar = 0.5 - (f % 2 * sy + f // 2 * sx) % 2              -- +-1/2 of band f at (sy, sx)
  local level, low = {}, nil
  for i = 0, levels - 1 do
    local H, W = x:size "y", x:size "x"
    local cells = x:windows("y x", "sy sx", { size = 2, stride = 2, fill = 0,
      count = { ceil(H, 2), ceil(W, 2) } })
    local bands = cells:dot(haar, "sy sx")
    local y = nn.depthwise(bands, pre .. "wavelet_convs." .. i, "c f", { k = k, bias = false })
    y = y * g:weight(pre .. "wavelet_scale." .. i .. ".weight", "1 (c f) 1 1", s)
    level[i], x = { y = y, H = H, W = W }, bands:at { f = 0 }    -- as before the convolution
  end
  for i = levels - 1, 0, -1 do
    local y = level[i].y
    if low then y = y + lap.where(f:eq(0), low, 0) end
    low = y:dot(haar, "f"):merge "y sy -> y":merge "x sx -> x"
    low = low:slice("y", 0, level[i].H):slice("x", 0, level[i].W)
  end
  return low
end

local function global(g, p, x, pre, levels)
  local scale = g:weight(pre .. "base_scale.weight", "1 c 1 1", { c = x:size "c" })
  return scale * ss2d(g, p, x, pre .. "global_atten.") + wavelet(g, x, pre, p.kernel, levels)
end
local function near(g, p, x, pre)
  local y = nn.depthwise(x, pre .. "dwconv3x3", "c", { k = p.kernel, bias = false })
  y = nn.relu(nn.batchnorm(y, pre .. "bn1"))
  y = y * g:weight(pre .. "dwconv1x1.weight", "c 1 1 1", { c = x:size "c" })
  return nn.batchnorm(y, pre .. "bn2")
end

local function widths(p)                           -- global (a multiple of 16), local, identity
  local Cg = (math.floor(p.global_ratio * p.dim) + 8) // 16 * 16
  local Cl = math.min(math.floor(p.local_ratio * p.dim), p.dim - Cg)
  return Cg, Cl, p.dim - Cg - Cl
end

local function mixer(g, p, x, pre)
  local Cg, Cl, Ci = widths(p)
  local parts = {}
  if Cg > 0 then
    parts[1] = global(g, p, x:slice("c", 0, Cg), pre .. "global_op.", 1)
    g:output("global_out", parts[1], "b c y x")
  end
  if Cl > 0 then
    parts[#parts + 1] = near(g, p, x:slice("c", Cg, Cl), pre .. "local_op.")
    g:output("local_out", parts[#parts], "b c y x")
  end
  if Ci > 0 then parts[#parts + 1] = x:slice("c", Cg + Cl, Ci) end
  local all = #parts > 1 and lap.cat("c", parts) or parts[1]
  return pointwise(nn.relu(all), pre .. "proj.1", "c -> c")
end

local variant = {}
function variant.global(g, p, x) return global(g, p, x, "", p.wt_levels) end
function variant.block(g, p, x)
  local function with_local(y, name) return y + nn.conv_bn(y, name, "", { k = 3, groups = "c" }) end
  local y = ffn(with_local(x, "dw0.m"), "ffn0.m.")
  y = y + mixer(g, p, y, "mixer.m.attn.")
  y = ffn(with_local(y, "dw1.m"), "ffn1.m.")
  return p.has_skip and x + y or y
end
function variant.merge(_, p, x)
  local y = nn.relu(pointwise(x, "conv1", "c -> f", { f = 4 * p.dim }))
  y = nn.relu(nn.conv_bn(y, "conv2", "", { k = 3, stride = 2, groups = "f" }))
  local width = lap.dim.symbol "R"                 -- from the weight
  local gate = nn.squeeze_excite(y, "y x", "se.fc1", "se.fc2", "f -> r", width, { tail = "1 1" })
  return pointwise(y * gate:sigmoid(), "conv3", "f -> c", { c = p.out_dim })
end

return {
  name = "mobile_mamba", family = "state space",
  paper = "MobileMamba: Lightweight Multi-Receptive Visual Mamba Network",
  doc = "block with a global, a local and an identity part of the channels; its parts",
  reference = "lewandofskee/MobileMamba (MIT)",
  params = {
    variant = { "enum", { "block", "global", "merge" }, "block", "block, global part, patch merging" },
    dim = { "int", 272, "channels", min = 1 },
    global_ratio = { "float", 0.8, "block: global share of the channels", min = 0 },
    local_ratio = { "float", 0.2, "block: local share of the channels", min = 0 },
    kernel = { "int", 3, "side of the local and the wavelet kernels, odd", min = 1 },
    ssm_ratio = { "float", 1.0, "scanned over global channels", min = 0 },
    wt_levels = { "int", 1, "global: levels of the wavelets", min = 1, max = 30 },
    d_state = { "int", 1, "states per channel", min = 1 },
    has_skip = { "bool", true, "block: the outer residual" },
    out_dim = { "int", function(p) return p.dim end, "merge: channels out", min = 1 },
  },
  dims = { B = 1, H = 14, W = 14, R = 272 },
  refuse = function(p)
    if p.kernel % 2 == 0 then return "kernel must be odd" end
    local Cg = p.variant == "block" and widths(p) or p.variant == "global" and p.dim or 0
    if Cg > p.dim then
      return ("global_ratio rounds to %d of %d channels"):format(Cg, p.dim)
    end
    if Cg > 0 and p.ssm_ratio * Cg < 1 then return "ssm_ratio leaves no channel to scan" end
  end,
  inputs = { x = "b=B c=dim y=H x=W" },
  build = function(g, p, t) g:output("out", variant[p.variant](g, p, t.x), "b c y x") end,
}
