-- SPDX-License-Identifier: Apache-2.0
-- A small grid of global tokens travels from block to block: blended with the map that has been
-- brought down to the grid, and broadcast back to every pixel by cross-attention.
local lap, nn = require "lap", require "lib.nn"

local function norm(x, name) return nn.layernorm(x, name, "c", 1e-6) end

-- Queries from the tokens of a, keys from the grid (v u) of b.
local function attention(g, p, a, b, pre)
  local s = { h = p.num_heads, d = p.dim // p.num_heads, two = 2, c = p.dim }
  local q = nn.linear(a, pre .. "q", "c -> (h d)", s)
  local k, v = nn.linear(b, pre .. "kv", "c -> (two h d)", s):as "v u -> ky kx":unstack "two"
  local o = g:attend { keys = "ky kx", score = q:dot(k, "d") * s.d ^ -0.5, value = v }
  return nn.linear(o.out, pre .. "proj", "(h d) -> c", s), o.weights
end

-- One value per channel, from the mean over pixels, times one per pixel.
local function bidimensional_gate(u, pre)
  local b, s = norm(u, pre .. "norm"), { r = u:size "c" // 4, c = u:size "c" }
  local top = nn.gelu(nn.linear(b:mean "y x", pre .. "global_reduce", "c -> r", s))
  local near = nn.gelu(nn.linear(b, pre .. "local_reduce", "c -> r", s))
  local channel = nn.linear(top, pre .. "channel_select", "r -> c", s)
  local both = lap.stack("which", { near, top })
  return channel:sigmoid() * nn.linear(both, pre .. "spatial_select", "(which r) -> 1"):sigmoid()
end

local function downsample(p, x, pre)               -- to the grid (v u), by halves
  for m = 0, p.down_steps - 1 do
    x = nn.avg_pool(nn.depthwise(x, pre .. "down." .. m, "c", { k = 3 }), "y x", { size = 2 })
  end
  return x:expect { y = p.tokens_h, x = p.tokens_w }:as "y x -> v u"
end

local function mix(p, G, pre)                      -- an MLP along the tokens of each channel
  local s = { t = p.token_hidden, v = p.tokens_h, u = p.tokens_w }
  local h = nn.gelu(nn.linear(norm(G, pre .. "norm"), pre .. "fc1", "(v u) -> t", s))
  return G + nn.linear(h, pre .. "fc2", "t -> (v u)", s)
end

-- x [b c y x], tokens [b c v u] -> y, new tokens, the aggregated map, weights of the broadcast
local function block(g, p, x, tokens, pre)
  local function mlp(z, name, ratio)
    return nn.mlp(z, pre .. name .. "1", pre .. name .. "2", ratio * p.dim)
  end
  local z = norm(nn.depthwise(x, pre .. "local.dw", "c", { k = p.dw_kernel }), pre .. "local.norm")
  x = x + mlp(z, "local.pw", p.local_ratio)

  local ds = downsample(p, x, pre)
  local n = norm(ds, pre .. "agg.norm")
  local aggregated = ds + attention(g, p, n, n, pre .. "agg.")
  local G = p.alpha * aggregated + (1 - p.alpha) * tokens
  if p.token_mlp == "mix" then G = mix(p, G, pre .. "mix.") end
  G = G + mlp(norm(G, pre .. "gmlp.norm"), "gmlp.fc", p.global_ratio)

  local asks, keys = norm(x, pre .. "bcast.norm_q"), norm(G, pre .. "bcast.norm_kv")
  local back, weights = attention(g, p, asks, keys, pre .. "bcast.")
  x = x + back
  local u = mlp(norm(x, pre .. "ffn.norm"), "ffn.fc", p.ffn_ratio)
  return x + u * bidimensional_gate(u, pre .. "ffn.gate."), G, aggregated, weights
end

return {
  name = "dualtoken_vit", family = "pooling", doc = "blocks with local and global tokens",
  paper = "DualToken-ViT: Position-aware Efficient Vision Transformer with Dual Token Fusion",
  reference = "equations; no code found",
  params = {
    dim = { "int", 64, "channels", min = 4 },
    num_heads = { "int", 2, "heads", min = 1 },
    depth = { "int", 1, "blocks", min = 1, max = 64 },
    tokens_h = { "int", 7, "rows of the grid of tokens", min = 1 },
    tokens_w = { "int", 7, "columns of the grid of tokens", min = 1 },
    down_steps = { "int", 3, "halvings from the map to the grid", min = 0, max = 16 },
    dw_kernel = { "int", 7, "side of the local kernel, odd", min = 1 },
    alpha = { "float", 0.5, "weight of the aggregated map", min = 0, max = 1 },
    token_mlp = { "enum", { "normal", "mix" }, "normal", "mix: also an MLP along the tokens" },
    local_ratio = { "int", 4, "hidden width of the local MLP over dim", min = 1 },
    global_ratio = { "int", 2, "of that of the tokens", min = 1 },
    ffn_ratio = { "int", 4, "of the last one", min = 1 },
    token_hidden = { "int", function(p) return p.tokens_h * p.tokens_w end,
      "hidden width along the tokens", min = 1 },
  },
  dims = { B = 1 },
  refuse = function(p)
    if p.dim % p.num_heads ~= 0 then return "num_heads must divide dim" end
    if p.dw_kernel % 2 == 0 then return "dw_kernel must be odd" end
  end,
  inputs = function(p)
    local y, x = p.tokens_h << p.down_steps, p.tokens_w << p.down_steps
    return { x = ("b=B c=dim y=%d x=%d"):format(y, x), g = "b=B (v=tokens_h u=tokens_w) c=dim" }
  end,
  build = function(g, p, t)
    local x, tokens = t.x, t.g
    for i = 0, p.depth - 1 do
      local aggregated, weights
      x, tokens, aggregated, weights = block(g, p, x, tokens, ("blocks.%d."):format(i))
      if i == 0 then
        g:output("agg0", aggregated, "b (v u) c")
        g:output("bcast_attn0", weights, "b h (y x) (ky kx)")
      end
    end
    g:output("y", x, "b c y x")
    g:output("g_out", tokens, "b (v u) c")
  end,
}
