-- SPDX-License-Identifier: Apache-2.0
-- Hi-Fi heads attend inside small windows (high frequencies), Lo-Fi heads from every token to the
-- averages of the windows (low frequencies).
local lap, nn, window = require "lap", require "lib.nn", require "lib.window"

local function groups(p)                           -- heads of high and of low frequency
  local low = p.window_size == 1 and p.num_heads or math.floor(p.num_heads * p.alpha)
  return p.num_heads - low, low
end

local function lofi(g, p, cut, pre, low, scale)
  local s, o = { s = 2, h = low, d = p.dim // p.num_heads, c = 0 }, { bias = p.qkv_bias }
  s.c = low * s.d
  local q = nn.linear(cut, pre .. "l_q", "c -> (h d)", s, o)
  local mean = cut:mean "y x":as "Y X -> u v"      -- of the input, as the projection is linear
  local k, v = nn.linear(mean, pre .. "l_kv", "c -> (s h d)", s, o):unstack "s"
  local out = g:attend { keys = "u v", score = q:dot(k, "d") * scale, value = v }.out
  return nn.linear(out, pre .. "l_proj", "(h d) -> c", s)
end

local function hilo(g, p, x, pre)
  local high, low = groups(p)
  local d, parts = p.dim // p.num_heads, {}
  if high == 0 then g:absent(pre .. "h_qkv.weight", "there are no Hi-Fi heads") end
  if low == 0 then g:absent(pre .. "l_q.weight", "there are no Lo-Fi heads") end
  local scale = p.qk_scale and p.qk_scale ~= 0 and p.qk_scale or d ^ -0.5
  -- tokens that fill up the last windows are zero, attended, and part of the averages
  local cut = window.cut(x, "y x", p.window_size)
  if high > 0 then
    parts[1] = window.attention(cut, pre, { heads = high, width = high * d, scale = scale,
      qkv_bias = p.qkv_bias, qkv = "h_qkv", proj = "h_proj" })
  end
  if low > 0 then parts[#parts + 1] = lofi(g, p, cut, pre, low, scale) end
  return window.join(#parts == 2 and lap.cat("c", parts) or parts[1], "y x", x)
end

return {
  name = "hilo", paper = "Fast Vision Transformers with HiLo Attention", family = "window",
  doc = "heads in windows and heads to averaged windows, alone or in the LITv2 block",
  authors = "Zizheng Pan, Jianfei Cai, Bohan Zhuang", year = 2022,
  reference = "ziplab/LITv2, attentions.py and litv2.py (Apache-2.0)",
  params = {
    part = { "enum", { "attn", "block" }, "attn", "the attention or the whole block" },
    dim = { "int", 256, "channels", min = 1 },
    num_heads = { "int", 8, "heads of both kinds", min = 1 },
    window_size = { "int", 2, "side of a window and of the pooling", min = 1 },
    alpha = { "float", 0.5, "share of Lo-Fi heads", min = 0, max = 1 },
    qkv_bias = { "bool", function(p) return p.part == "block" end, "bias of the projections" },
    qk_scale = { "float?", nil, "factor of the scores, 1/sqrt(d) unless given (or 0)" },
    mlp_ratio = { "float", 4.0, "hidden width of the block's MLP over dim" },
    H = { "int", 28, "rows of the map", min = 1 },
    W = { "int", 28, "columns of the map", min = 1 },
  },
  dims = { B = 1 },
  refuse = function(p)
    if p.dim % p.num_heads ~= 0 then return "num_heads must divide dim" end
    if p.part == "block" and p.dim * p.mlp_ratio < 1 then
      return "mlp_ratio leaves no hidden channel"
    end
  end,
  inputs = { x = "b=B (y=H x=W) c=dim" },
  build = function(g, p, t)
    local x = t.x
    if p.part == "attn" then return g:output("y", hilo(g, p, x, ""), "b (y x) c") end
    x = x + hilo(g, p, nn.layernorm(x, "norm1", "c"), "attn.")
    local hidden = { f = math.floor(p.dim * p.mlp_ratio), c = p.dim }
    local z = nn.linear(nn.layernorm(x, "norm2", "c"), "mlp.fc1", "c -> f", hidden)
    z = nn.gelu(nn.depthwise(z, "mlp.dwconv.dwconv", "f", { k = 3 }))
    g:output("y", x + nn.linear(z, "mlp.fc2", "f -> c", hidden), "b (y x) c")
  end,
}
