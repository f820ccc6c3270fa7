-- SPDX-License-Identifier: Apache-2.0
-- Global dynamic convolution: each patch becomes a 1x1 kernel that is applied to the whole map; a
-- pointwise layer over the patches stands for softmax and values.
local nn = require "lib.nn"

local function block(g, p, x, pre)
  local sizes = { c = p.dim, py = p.height // p.patch, px = p.width // p.patch }
  local o = { k = p.patch, stride = p.patch, pad = 0 }
  local Q = nn.depthwise(x, pre .. "patch", "c", o):as "y x -> py px"
  Q = Q + g:weight(pre .. "diff", "c py px", sizes)
  Q = nn.gelu(nn.layernorm(Q, pre .. "lnnorm", "c", 1e-6))
  local K = nn.depthwise(x, pre .. "convk", "c", { k = 7 })
  local corr = Q:dot(K, "c") + g:weight(pre .. "bias", "1")
  return x + nn.conv1x1(corr, pre .. "conv1", "(py px) -> c", sizes), corr
end

return {
  name = "gdc", paper = "Troublemaker Learning for Low-Light Image Enhancement",
  family = "convolution", doc = "global dynamic convolution, alone or before a convolution",
  reference = "Rainbowman0/TML_LLIE, models/gdcblock_parts.py",
  params = {
    part = { "enum", { "block", "double_conv" }, "block", "the block, or with the layers behind it" },
    dim = { "int", 256, "channels", min = 1 },
    height = { "int", 56, "rows of the map", min = 1 },
    width = { "int", function(p) return p.height end, "columns of the map", min = 1 },
    patch = { "int", 7, "side of a patch", min = 1 },
    out_dim = { "int", function(p) return p.dim end, "channels of double_conv's output", min = 1 },
  },
  dims = { B = 1 },
  refuse = function(p)
    if p.height % p.patch ~= 0 then return "patch must divide height" end
    if p.width % p.patch ~= 0 then return "patch must divide width" end
  end,
  inputs = { x = "b=B c=dim y=height x=width" },
  build = function(g, p, t)
    local is_double = p.part == "double_conv"
    local y, corr = block(g, p, t.x, is_double and "double_conv.0." or "")
    g:output("corr", corr, "b (py px) y x")
    if not is_double then return g:output("y", y, "b c y x") end
    g:output("block", y, "b c y x")
    local z = nn.relu(nn.batchnorm(y, "double_conv.1"))
    z = nn.conv(z, "double_conv.3", "c -> c", { k = 3, sizes = { c = p.out_dim }, bias = false })
    g:output("y", nn.relu(nn.batchnorm(z, "double_conv.4")), "b c y x")
  end,
}
