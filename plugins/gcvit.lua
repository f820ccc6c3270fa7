-- SPDX-License-Identifier: Apache-2.0
-- Attention in windows. In every other block the query is not the window's own: one small map, made
-- once from the whole input, asks the keys of all windows.
local nn, window = require "lib.nn", require "lib.window"

local function fused_mbconv(x, pre)
  local plain, C = { bias = false }, x:size "c"
  local u = nn.gelu(nn.depthwise(x, pre .. "conv.0", "c", { k = 3, bias = false }))
  local gate = nn.linear(u:mean "y x", pre .. "conv.2.fc.0", "c -> r", { r = C // 4 }, plain)
  gate = nn.linear(nn.gelu(gate), pre .. "conv.2.fc.2", "r -> c", { c = C }, plain):sigmoid()
  return x + nn.conv1x1(u * gate, pre .. "conv.3", "c -> c", nil, plain)
end

local function global_query(g, p, x)
  local pre, n = "q_global_gen.to_q_global.", #p.q_keep_dim
  g:absent(pre .. n .. ".conv.0.weight", ("q_keep_dim names %d extractors"):format(n))
  for i, keep in ipairs(p.q_keep_dim) do
    x = fused_mbconv(x, pre .. i - 1 .. ".")
    if not keep then x = nn.max_pool(x, "y x", { size = 3, stride = 2, pad = 1 }) end
  end
  for _, axis in ipairs { "y", "x" } do
    g:require(g:number(x:size(axis)):eq(p.window_size), "the pooled query is not one window")
  end
  x = x:expect { y = p.window_size, x = p.window_size }
  return x:split("c -> h d", { h = p.num_heads })
end

local function block(g, p, x, pre, query)
  local s = p.window_size
  local function scaled(y, gamma)
    return p.layer_scale and y * g:weight(pre .. gamma, "c", { c = p.dim }) or y
  end
  local function bias(q)
    local name = pre .. "attn.relative_position_bias_table"
    return window.place_bias(q, name, "(dy dx) h", p.num_heads, s)
  end
  local cut = window.cut(nn.layernorm(x, pre .. "norm1", "c"), "y x", s)
  local z = window.attention(cut, pre .. "attn.", { heads = p.num_heads, scale = p.qk_scale,
    qkv_bias = p.qkv_bias, query = query, bias = bias })
  x = x + scaled(window.join(z, "y x", x), "gamma1")
  local hidden = math.floor(p.dim * p.mlp_ratio)
  z = nn.layernorm(x, pre .. "norm2", "c")
  return x + scaled(nn.mlp(z, pre .. "mlp.fc1", pre .. "mlp.fc2", hidden), "gamma2")
end

return {
  name = "gcvit", paper = "Global Context Vision Transformers", family = "window",
  doc = "a stage of blocks with local and global queries of window attention",
  reference = "NVlabs/GCVit, models/gc_vit.py (NSCL-NC), run, not copied",
  params = {
    dim = { "int", 64, "channels", min = 1 },
    depth = { "int", 2, "blocks: local, global, local, ..", min = 1, max = 64 },
    num_heads = { "int", 2, "heads", min = 1 },
    window_size = { "int", 7, "side of a window and of the global query", min = 1 },
    mlp_ratio = { "float", 4.0, "hidden width over dim" },
    qkv_bias = { "bool", true, "bias of the projections" },
    qk_scale = { "float?", nil, "factor of the scores, 1/sqrt(d) unless given" },
    layer_scale = { "bool", false, "learned scale of each branch" },
    q_keep_dim = { "list of bool", { false, false, false },
      "an extractor of the query for each; false: a pooling by two behind it" },
    downsample = { "bool", false, "a strided convolution at the end" },
  },
  dims = { B = 1, H = 56, W = 56 },
  refuse = function(p)
    if p.dim % p.num_heads ~= 0 then return "num_heads must divide dim" end
    if p.dim < 4 then return "dim must be at least 4" end
    if p.dim * p.mlp_ratio < 1 then return "mlp_ratio leaves no hidden channel" end
  end,
  inputs = { x = "b=B y=H x=W c=dim" },
  build = function(g, p, t)
    for _, axis in ipairs { "y", "x" } do
      local n = t.x:size(axis)
      g:require(g:number(n % p.window_size):eq(0), "window_size must divide the sides of the map")
    end
    local x, query = t.x, global_query(g, p, t.x)
    g:output("q_global", query, "b h (y x) d")
    for j = 0, p.depth - 1 do
      x = block(g, p, x, "blocks." .. j .. ".", j % 2 == 1 and query or nil)
    end
    if not p.downsample then return g:output("y", x, "b y x c") end
    local z = fused_mbconv(nn.layernorm(x, "downsample.norm1", "c"), "downsample.")
    local down = { k = 3, stride = 2, sizes = { o = 2 * p.dim }, bias = false }
    z = nn.conv(z, "downsample.reduction", "c -> o", down)
    g:output("y", nn.layernorm(z, "downsample.norm2", "o"), "b y x o")
  end,
}
