-- SPDX-License-Identifier: Apache-2.0
-- Layers of 2-D neighbourhood attention, local (dilation 1) and sparse (dilated), with a bias per
-- relative position.
local lap, nn, pattern = require "lap", require "lib.nn", require "lib.pattern"

local function attention(g, p, x, pre, dilation)
  local k, H, W = p.kernel_size, x:size "y", x:size "x"
  local s = { s = 3, h = p.num_heads, d = p.dim // p.num_heads, c = p.dim, dy = 2 * k - 1,
    dx = 2 * k - 1 }
  -- a map smaller than the dilated window is filled up; the new tokens are attended
  local function lack(n) return lap.dim.max(n, k * dilation) - n end
  local full = x:pad("y", 0, lack(H)):pad("x", 0, lack(W))
  local q, K, V = nn.linear(full, pre .. "qkv", "c -> (s h d)", s, { bias = p.qkv_bias }):unstack "s"
  local near = pattern.neighbours(full, "y x", { size = k, dilation = dilation })
  local function offset(axis)                      -- in steps of the dilation
    return near.place[axis] // dilation - full:index(axis) // dilation + (k - 1)
  end
  local rpb = g:weight(pre .. "rpb", "h dy dx", s):at { dy = offset "y", dx = offset "x" }
  local score = q:dot(K:at(near.place), "d") * (p.qk_scale or s.d ^ -0.5) + rpb
  local o = g:attend { keys = near.keys, score = score, value = V:at(near.place) }.out
  return nn.linear(o:slice("y", 0, H):slice("x", 0, W), pre .. "proj", "(h d) -> c", s)
end

return {
  name = "dinat", paper = "Dilated Neighborhood Attention Transformer", family = "window",
  doc = "a level of layers with neighbourhood attention, each with its dilation",
  reference = "SHI-Labs/Neighborhood-Attention-Transformer and NATTEN 0.14.6 (MIT)",
  params = {
    dim = { "int", 64, "channels", min = 1 },
    num_heads = { "int", 2, "heads", min = 1 },
    kernel_size = { "int", 7, "neighbours along each axis, odd", min = 3 },
    dilations = { "list of int", { 1, 8 }, "a layer for each", min = 1 },
    mlp_ratio = { "float", 4.0, "hidden width over dim" },
    qkv_bias = { "bool", true, "bias of the projections" },
    qk_scale = { "float?", nil, "factor of the scores, 1/sqrt(d) unless given" },
    layer_scale = { "bool", false, "learned scale of each branch" },
    downsample = { "bool", false, "a strided convolution at the end" },
  },
  dims = { B = 1, H = 56, W = 56 },
  refuse = function(p)
    if p.kernel_size % 2 == 0 then return "kernel_size must be odd" end
    if p.dim % p.num_heads ~= 0 then return "num_heads must divide dim" end
    if #p.dilations == 0 then return "dilations must not be empty" end
    if p.dim * p.mlp_ratio < 1 then return "mlp_ratio leaves no hidden channel" end
  end,
  inputs = { x = "b=B y=H x=W c=dim" },
  build = function(g, p, t)
    local x, hidden = t.x, math.floor(p.dim * p.mlp_ratio)
    g:absent(("blocks.%d.norm1.weight"):format(#p.dilations),
      ("dilations names %d layers"):format(#p.dilations))
    for i, dilation in ipairs(p.dilations) do
      local pre = "blocks." .. i - 1 .. "."
      local function scaled(y, gamma)
        return p.layer_scale and y * g:weight(pre .. gamma, "c", { c = p.dim }) or y
      end
      local z = nn.layernorm(x, pre .. "norm1", "c")
      x = x + scaled(attention(g, p, z, pre .. "attn.", dilation), "gamma1")
      z = nn.layernorm(x, pre .. "norm2", "c")
      x = x + scaled(nn.mlp(z, pre .. "mlp.fc1", pre .. "mlp.fc2", hidden), "gamma2")
    end
    if not p.downsample then return g:output("y", x, "b y x c") end
    local down = { k = 3, stride = 2, sizes = { o = 2 * p.dim }, bias = false }
    local y = nn.conv(x, "downsample.reduction", "c -> o", down)
    g:output("y", nn.layernorm(y, "downsample.norm", "o"), "b y x o")
  end,
}
