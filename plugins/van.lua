-- SPDX-License-Identifier: Apache-2.0
-- Large kernel attention: a K x K depthwise convolution in three steps, (2d-1)^2, ceil(K/d)^2 with
-- dilation d, and 1x1, whose result gates the feature it came from.
local nn = require "lib.nn"

local function taps(p) return 2 * p.dilation - 1, (p.kernel + p.dilation - 1) // p.dilation end

local function lka(p, u, pre)
  local k0, k1 = taps(p)
  local a = nn.depthwise(u, pre .. "conv0", "c", { k = k0 })
  a = nn.depthwise(a, pre .. "conv_spatial", "c", { k = k1, dilation = p.dilation })
  return nn.conv1x1(a, pre .. "conv1", "c -> c")
end

return {
  name = "van", paper = "Visual Attention Network", family = "convolution",
  doc = "block of large kernel attention and a convolutional MLP",
  reference = "Visual-Attention-Network/VAN-Classification, models/van.py (Apache-2.0)",
  params = {
    dim = { "int", 64, "channels", min = 1 },
    mlp_ratio = { "float", 4.0, "hidden width over dim" },
    kernel = { "int", 21, "side K of the kernel that is decomposed", min = 1 },
    dilation = { "int", 3, "dilation d of its second step", min = 1 },
  },
  dims = { B = 1, H = 56, W = 56 },
  refuse = function(p)
    local _, k1 = taps(p)
    if p.kernel < p.dilation then return "kernel must be at least dilation" end
    if p.dilation * (k1 - 1) % 2 ~= 0 then
      return "dilation*(ceil(kernel/dilation) - 1) must be even, else the map changes its size"
    end
    if p.dim * p.mlp_ratio < 1 then return "mlp_ratio leaves no hidden channel" end
  end,
  inputs = { x = "b=B c=dim y=H x=W" },
  build = function(g, p, t)
    local function per_channel(name) return g:weight(name, "c", { c = p.dim }) end
    local function norm(x, name)
      g:require(per_channel(name .. ".running_var"):ge(0), name .. ".running_var is negative")
      return nn.batchnorm(x, name)
    end
    local h = norm(t.x, "norm1")
    local u = nn.gelu(nn.conv1x1(h, "attn.proj_1", "c -> c"))
    local a = lka(p, u, "attn.spatial_gating_unit.")
    local s = nn.conv1x1(u * a, "attn.proj_2", "c -> c") + h      -- the residual is h, not x
    local x = t.x + per_channel "layer_scale_1" * s

    local hidden = { f = math.floor(p.dim * p.mlp_ratio), c = p.dim }
    local m = nn.conv1x1(norm(x, "norm2"), "mlp.fc1", "c -> f", hidden)
    m = nn.gelu(nn.depthwise(m, "mlp.dwconv.dwconv", "f", { k = 3 }))
    m = nn.conv1x1(m, "mlp.fc2", "f -> c", hidden)
    g:output("y", x + per_channel "layer_scale_2" * m, "b c y x")
    g:output("lka", a, "b c y x")
  end,
}
