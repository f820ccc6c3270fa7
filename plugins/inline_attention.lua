-- SPDX-License-Identifier: Apache-2.0
-- Linear attention that is normalised by subtraction: weights s/N q.k, less their mean, plus 1/N,
-- never formed. To it comes a depthwise 3 x 3 convolution of the values, whose kernels are made
-- from the mean token.
local nn, swin = require "lib.nn", require "lib.swin"

local phi = {
  identity = function(t) return t end,
  relu = nn.relu,
  leakyrelu = nn.leaky_relu,
  exp = function(t) return (0.2 * t):exp() end,
}

local function project(p, x, pre)                  -- tokens [.. n c] -> queries, keys, values [.. n h d]
  local function linear(name, parts)
    local sizes = { s = parts, h = p.num_heads, d = p.dim // p.num_heads }
    return nn.linear(x, pre .. name, "c -> (s h d)", sizes, { bias = p.qkv_bias }):unstack "s"
  end
  if p.variant ~= "pvt" then return linear("qkv", 3) end
  return linear("q", 1), linear("kv", 2)
end

-- x [.. n c]: the class token, if any, then the H x W grid.
local function attention(p, x, pre, H, W)
  local N = x:size "n"
  local d, n_class = p.dim // p.num_heads, N - H * W
  local sizes = { h = p.num_heads, d = d, f = d, ky = 3, kx = 3, y = H, x = W, c = p.dim }
  local q, k, v = project(p, x, pre)
  q, k = phi[p.kernel_func](q), phi[p.kernel_func](k)
  local s = d ^ -0.5
  local S = k:dot(v:as "d -> e", "n") * (s / N)
  local o = q:dot(S, "d"):as "e -> d" + (1 - s * q:dot(k:mean "n", "d")) * v:mean "n"
  -- kernels from the mean token, head by head
  local u = x:mean "n":split("c -> h e", sizes)
  local per_head = { groups = "h", tail = "1" }
  u = nn.gelu(nn.linear(u, pre .. "residual.0", "e -> f", sizes, per_head))
  local kernel = nn.linear(u, pre .. "residual.2", "f -> (d ky kx)", sizes, per_head)
  local image = v:slice("n", n_class, H * W):split("n -> y x", sizes)
  local near = image:windows("y x", "ky kx", { size = 3, pad = 1 }):dot(kernel, "ky kx")
  o = o + near:merge "y x -> n":pad("n", n_class, 0)
  return nn.linear(o, pre .. "proj", "(h d) -> c", sizes)
end

return {
  name = "inline_attention", family = "linear", doc = "injective linear attention with a local residual",
  paper = "Bridging the Divide: Reconsidering Softmax and Linear Attention",
  reference = "LeapLabTHU/InLine, models/inline_pvt.py, inline_swin.py, inline_deit.py",
  params = {
    variant = { "enum", { "pvt", "window", "deit", "swin" }, "pvt",
      "separate layers, one grid, a class token, or a window block" },
    dim = { "int", 64, "channels", min = 1 },
    num_heads = { "int", 1, "heads", min = 1 },
    qkv_bias = { "bool", true, "bias of queries, keys and values" },
    kernel_func = { "enum", { "identity", "relu", "leakyrelu", "exp" }, "identity", "of queries and keys" },
    H = { "int", 56, "rows of the grid", min = 1 },
    W = { "int", 56, "columns of the grid", min = 1 },
    window_size = { "int", 7, "swin: side of a window", min = 1 },
    shift_size = { "int", 0, "swin: how far the map is rolled", min = 0 },
    mlp_ratio = { "float", 4.0, "swin: hidden width over dim" },
    sr_ratio = { "int", 1,
      "pvt: reduction of the keys, which the authors' module cannot run", min = 1, max = 1 },
  },
  dims = { B = 1 },
  refuse = function(p)
    if p.dim % p.num_heads ~= 0 then return "dim must be a multiple of num_heads" end
    if (p.variant == "pvt" or p.variant == "deit") and p.kernel_func ~= "identity" then
      return p.variant .. " has kernel_func identity only"
    end
    if (p.variant == "window" or p.variant == "deit") and p.H ~= p.W then return "H and W must be equal" end
    if p.variant == "swin" then return swin.refuse(p) end
  end,
  inputs = function(p)
    return { x = p.variant == "deit" and "b n=H*W+1 c=dim" or "b n=H*W c=dim" }
  end,
  build = function(g, p, t)
    local function attend(z, pre, H, W) return attention(p, z, pre, H, W) end
    local out = p.variant == "swin" and swin.block(p, t.x, attend) or attend(t.x, "", p.H, p.W)
    g:output("out", out, "b n c")
  end,
}
