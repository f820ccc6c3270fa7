-- SPDX-License-Identifier: Apache-2.0
-- MBConv, then attention inside windows (local), then attention over lattices that span the whole map
-- (dilated, global).
local nn, window = require "lib.nn", require "lib.window"

local function make8(v)                            -- the library's rounding of channel counts
  local r = math.max(8, (v + 4) // 8 * 8)
  return math.tointeger(r < 0.9 * v and r + 8 or r)
end

local function mbconv(p, x)
  local s = { m = make8(p.dim * p.conv_expand), r = math.floor(p.se_ratio * p.dim), c = p.dim }
  local plain = { bias = false }
  local function norm(z, name, c) return nn.batchnorm(z, "conv." .. name, c, 1e-3) end
  local z = nn.conv1x1(norm(x, "pre_norm", "i"), "conv.conv1_1x1", "i -> m", s, plain)
  z = nn.gelu_tanh(norm(z, "norm1", "m"))
  -- "same" padding: on an even size, stride 2 pads behind only
  local before = p.stride == 1 and 1 or 0
  z = z:pad("y", before, 1):pad("x", before, 1)
  z = nn.depthwise(z, "conv.conv2_kxk", "m", { k = 3, stride = p.stride, pad = 0, bias = false })
  z = nn.gelu_tanh(norm(z, "norm2", "m"))
  local gate = nn.silu(nn.conv1x1(z:mean "y x", "conv.se.fc1", "m -> r", s))
  gate = nn.conv1x1(gate, "conv.se.fc2", "r -> m", s):sigmoid()
  z = nn.conv1x1(z * gate, "conv.conv3_1x1", "m -> c", s)
  local short = p.stride == 1 and x or nn.avg_pool(x, "y x", { size = 2 })
  if p.in_chs == p.dim then return z + short:as "i -> c" end
  return z + nn.conv1x1(short, "conv.shortcut.expand", "i -> c", s)
end

-- cut and join: the partition, in windows or in lattices of size (a, b)
local function layer(p, x, pre, size, cut, join)
  local heads = p.dim // p.dim_head
  local function bias(q)
    local name = pre .. "attn.rel_pos.relative_position_bias_table"
    return window.place_bias(q, name, "h dy dx", heads, size, { key_minus_query = true })
  end
  local z = cut(nn.layernorm(x, pre .. "norm1", "c"), "y x", size)
  x = x + join(window.attention(z, pre .. "attn.", { heads = heads, bias = bias }), "y x", x)
  local hidden = { f = math.floor(p.dim * p.mlp_ratio) }
  z = nn.linear(nn.layernorm(x, pre .. "norm2", "c"), pre .. "mlp.fc1", "c -> f", hidden)
  return x + nn.linear(nn.gelu_tanh(z), pre .. "mlp.fc2", "f -> c", { c = p.dim })
end

local function refuse(p)
  if #p.window_size ~= 2 then return "window_size needs two numbers" end
  if #p.grid_size ~= 2 then return "grid_size needs two numbers" end
  if p.stride == 1 and p.in_chs ~= p.dim then return "stride 1 needs in_chs = dim" end
  if p.dim % p.dim_head ~= 0 then return "dim_head must divide dim" end
  if p.dim * p.mlp_ratio < 1 then return "mlp_ratio leaves no hidden channel" end
  if p.dim * p.se_ratio < 1 then return "se_ratio leaves no hidden channel" end
end

return {
  name = "maxvit", paper = "MaxViT: Multi-Axis Vision Transformer", family = "window",
  doc = "MBConv, block attention and grid attention: one block of MaxViT",
  authors = "Zhengzhong Tu, Hossein Talebi, Han Zhang, Feng Yang, Peyman Milanfar, "
    .. "Alan Bovik, Yinxiao Li", year = 2022,
  reference = "huggingface/pytorch-image-models, maxxvit.py (Apache-2.0)",
  params = {
    in_chs = { "int", function(p) return p.dim end, "channels in", min = 1 },
    dim = { "int", 64, "channels out", min = 1 },
    stride = { "int", 1, "of the MBConv", min = 1, max = 2 },
    window_size = { "list of int", { 7, 7 }, "rows and columns of a window", min = 1 },
    grid_size = { "list of int", function(p) return p.window_size end,
      "rows and columns of a lattice", min = 1 },
    dim_head = { "int", 32, "channels of a head", min = 1 },
    conv_expand = { "float", 4.0, "hidden width of the MBConv over dim", min = 0 },
    mlp_ratio = { "float", 4.0, "hidden width of the MLP over dim" },
    se_ratio = { "float", 0.25, "hidden width of squeeze-excite over dim" },
  },
  dims = { B = 1, H = 56, W = 56 },
  refuse = refuse,
  inputs = { x = "b=B i=in_chs y=H x=W" },
  build = function(g, p, t)
    for i, axis in ipairs { "y", "x" } do
      local n, where = t.x:size(axis), i == 1 and "rows" or "columns"
      g:require(g:number(n % p.stride):eq(0), "stride 2 needs an even number of " .. where)
      for _, name in ipairs { "window_size", "grid_size" } do
        g:require(g:number(n // p.stride % p[name][i]):eq(0),
          ("%s must divide the %s of the map after its stride"):format(name, where))
      end
    end
    local x = mbconv(p, t.x)
    local block = layer(p, x, "attn_block.", p.window_size, window.cut, window.join)
    local y = layer(p, block, "attn_grid.", p.grid_size, window.lattice, window.unlattice)
    g:output("mbconv", x, "b c y x")
    g:output("block", block, "b c y x")
    g:output("y", y, "b c y x")
  end,
}
