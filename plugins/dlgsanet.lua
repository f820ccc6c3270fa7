-- SPDX-License-Identifier: Apache-2.0
-- Pairs of layers: depthwise kernels predicted at every position (local, no softmax), and attention
-- between channels with ReLU in place of softmax (global, sparse), each with a gated FFN.
local lap, nn = require "lap", require "lib.nn"
local dim, plain = lap.dim, { bias = false }

local function ffn(z, pre, hidden)
  local s = { s = 2, f = hidden, c = z:size "c" }
  local u = nn.conv1x1(z, pre .. "project_in", "c -> (s f)", s, plain)
  local a, b = nn.depthwise(u, pre .. "dwconv", "s f", { k = 3, bias = false }):unstack "s"
  return nn.conv1x1(nn.gelu(a) * b, pre .. "project_out", "f -> c", s, plain)
end

-- MHDLSA: v[c, y, x] = sum over taps of K[group of c, tap, y, x] * u[c, y + ky - k/2, x + kx - k/2]
local function local_attention(p, z, pre)
  local k, r = p.window_size, p.channels_per_group
  local s = { c = p.dim, e = p.dim // 4, g = p.dim // r, r = r, ky = k, kx = k }
  local u = nn.conv1x1(z, pre .. "conv0", "c -> c", nil, plain)
  local e = nn.conv1x1(u, pre .. "conv.conv1.0", "c -> e", s)
  e = nn.depthwise(e, pre .. "conv.conv1.1", "e", { k = k })
  local K = nn.conv1x1(e, pre .. "conv.conv2.0", "e -> (g ky kx)", s)
  local around = u:split("c -> g r", s):windows("y x", "ky kx", { size = k, pad = k // 2 })
  return nn.conv1x1(K:dot(around, "ky kx"), pre .. "conv1", "(g r) -> c", s, plain)
end

-- Windows that cover n places, the last one shifted inward: the place of (window, inside).
local function cover(g, n, size, window, inside)
  local len = dim.min(n, size)
  local step = dim.max(dim.ceil(n - len, dim.max(dim.ceil(n, len) - 1, 1)), 1)
  local first = (g:index(window, dim.ceil(n - len, step) + 1) * step):atmost(n - len)
  return first + g:index(inside, len)
end

-- SparseGSA: rows and columns of the map are the channels of a head; the map is not normalised.
local function global_attention(g, p, z, pre)
  local s = { s = 3, h = p.num_heads, i = p.dim // p.num_heads, c = p.dim }
  local qkv = nn.conv1x1(z, pre .. "qkv", "c -> (s h i)", s, plain)
  qkv = nn.depthwise(qkv, pre .. "qkv_dwconv", "s h i", { k = 3, bias = false })
  local H, W, at = z:size "y", z:size "x", nil
  if p.tlc then
    at = { y = cover(g, H, p.tlc_kernel, "Y", "y"), x = cover(g, W, p.tlc_kernel, "X", "x") }
    qkv = qkv:at(at)
  end
  local q, k, v = qkv:unstack "s"
  q, k, v = q:queries("i -> j", k, v)
  local score = nn.unit(q, "y x"):dot(nn.unit(k, "y x"), "y x")
  local map = nn[p.activation](score * g:weight(pre .. "temperature", "h 1 1", s))
  local o = map:dot(v, "j")
  if p.tlc then                                    -- what overlaps is averaged
    local function add(a) return a:scatter("Y X y x", at, { y = H, x = W }) end
    o = add(o) / add(g:full(1.0, "Y X y x", o))
  end
  return nn.conv1x1(o, pre .. "project_out", "(h i) -> c", s, plain), map
end

return {
  name = "dlgsanet", family = "gated",
  paper = "DLGSANet: Lightweight Dynamic Local and Global Self-Attention Networks for Image "
    .. "Super-Resolution",
  doc = "predicted depthwise kernels and sparse attention between channels",
  reference = "NeonLeexiang/DLGSANet, basicsr/archs/dlgsanet_arch.py (Apache-2.0)",
  params = {
    dim = { "int", 90, "channels", min = 4 },
    blocks = { "int", 3, "pairs of layers", min = 1, max = 64 },
    window_size = { "int", 7, "side of a predicted kernel, odd", min = 1 },
    channels_per_group = { "int", 6, "channels that share a predicted kernel", min = 1 },
    num_heads = { "int", 6, "heads of the channel attention", min = 1 },
    ffn_expansion_factor = { "float", 2.0, "hidden width over dim" },
    tlc = { "bool", true, "channel attention in windows of the map" },
    tlc_kernel = { "int", 48, "side of such a window", min = 1 },
    activation = { "enum", { "relu", "gelu", "sigmoid" }, "relu", "of the similarities" },
  },
  dims = { B = 1, H = 64, W = 64 },
  refuse = function(p)
    if p.dim % p.channels_per_group ~= 0 then return "channels_per_group must divide dim" end
    if p.dim % p.num_heads ~= 0 then return "num_heads must divide dim" end
    if p.window_size % 2 == 0 then return "window_size must be odd" end
    if p.dim * p.ffn_expansion_factor < 1 then return "ffn_expansion_factor leaves no hidden channel" end
  end,
  inputs = { x = "b=B c=dim y=H x=W" },
  build = function(g, p, t)
    if p.tlc then g:require(g:number(t.x:size "b"):eq(1), "tlc needs a batch of one") end
    local x, hidden = t.x, math.floor(p.dim * p.ffn_expansion_factor)
    local function norm(a, name) return nn.layernorm(a, name .. ".body", "c") end
    for i = 0, p.blocks - 1 do
      local L, S = ("body.%d."):format(2 * i), ("body.%d."):format(2 * i + 1)
      local near = local_attention(p, norm(x, L .. "norm1"), L .. "IDynamicDWConv.")
      x = x + near
      x = x + ffn(norm(x, L .. "norm2"), L .. "IDynamic_ffn.", hidden)
      local far, map = global_attention(g, p, norm(x, S .. "norm3"), S .. "restormer_attn.")
      x = x + far
      x = x + ffn(norm(x, S .. "norm4"), S .. "restormer_ffn.", hidden)
      if i == 0 then
        g:output("local0", near, "b c y x")
        g:output("global0", far, "b c y x")
        g:output("attn0", map, p.tlc and "(b Y X) h i j" or "b h i j")
      end
    end
    g:output("y", t.x + nn.conv(x, "body." .. 2 * p.blocks, "c -> c", { k = 3 }), "b c y x")
  end,
}
