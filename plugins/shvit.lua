-- SPDX-License-Identifier: Apache-2.0
-- One head attends on the first pdim channels; the projection mixes them with the others, which
-- bypass it. And the blocks around: early block, downsampling, stem.
local lap, nn = require "lap", require "lib.nn"

local function pointwise(x, name, spec, sizes)
  return nn.conv_bn(x, name, spec, { k = 1, sizes = sizes })
end
local function depthwise(x, name, c, stride)
  return nn.conv_bn(x, name, "", { k = 3, groups = c, stride = stride })
end
local function with_local(x, name) return x + depthwise(x, name .. ".m", "c") end
local function with_ffn(x, name)
  local C = x:size "c"
  local h = nn.relu(pointwise(x, name .. ".m.pw1", "c -> f", { f = 2 * C }))
  return x + pointwise(h, name .. ".m.pw2", "f -> c", { c = C })
end

local part = {}

function part.conv(_, _, x) return with_ffn(with_local(x, "conv"), "ffn") end

function part.single_head(g, p, x)
  x = with_local(x, "conv")
  local a, rest = x:cut("c", p.pdim, p.dim - p.pdim)
  a = nn.groupnorm(a, "mixer.m.pre_norm", "c y x", "c")
  local qkv = pointwise(a, "mixer.m.qkv", "c -> o", { o = 2 * p.qk_dim + p.pdim })
  local q, k, v = qkv:cut("o", p.qk_dim, p.qk_dim, p.pdim)
  q, k, v = q:queries("y x -> u v", k, v)
  local o = g:attend { keys = "u v", score = q:dot(k, "o") * p.qk_dim ^ -0.5, value = v:as "o -> c" }
  g:output("attn", o.weights, "b (y x) (u v)")
  local mixed = p.pdim < p.dim and lap.cat("c", { o.out, rest }) or o.out
  x = x + pointwise(nn.relu(mixed), "mixer.m.proj.1", "c -> c")
  return with_ffn(x, "ffn")
end

function part.downsample(_, p, x)
  local C = p.dim
  x = with_ffn(with_local(x, "0.0"), "0.1")
  local h = nn.relu(pointwise(x, "1.conv1", "c -> e", { e = 4 * C }))
  h = nn.relu(depthwise(h, "1.conv2", "e", 2))
  local width = math.max(8, (C + 4) // 8 * 8)
  local s = nn.squeeze_excite(h, "y x", "1.se.fc1", "1.se.fc2", "e -> r", width, { tail = "1 1" })
  x = pointwise(h * s:sigmoid(), "1.conv3", "e -> c", { c = p.out_dim })
  return with_ffn(with_local(x, "2.0"), "2.1")
end

function part.stem(_, p, x)
  for i = 0, 3 do
    local o = { k = 3, stride = 2, sizes = { c = p.out_dim >> (3 - i) } }
    x = nn.conv_bn(i > 0 and nn.relu(x) or x, tostring(2 * i), "c -> c", o)
  end
  return x
end

return {
  name = "shvit", family = "attention",
  paper = "SHViT: Single-Head Vision Transformer with Memory Efficient Macro Design",
  doc = "single-head attention on part of the channels, and the blocks around it",
  reference = "ysj9909/SHViT, model/shvit.py (MIT)",
  params = {
    part = { "enum", { "single_head", "conv", "downsample", "stem" }, "single_head",
      "late block, early block, downsampling, image to tokens" },
    dim = { "int", 128, "channels in", min = 1 },
    qk_dim = { "int", 16, "single_head: width of queries and keys", min = 1 },
    pdim = { "int", 32, "single_head: attended channels", min = 1 },
    out_dim = { "int", 256, "downsample, stem: channels out", min = 1 },
  },
  dims = { B = 1, H = 14, W = 14 },
  refuse = function(p)
    if p.part == "stem" and p.out_dim % 8 ~= 0 then return "out_dim must be a multiple of 8" end
    if p.part == "single_head" and p.pdim > p.dim then return "pdim must lie in 1..dim" end
  end,
  inputs = { x = "b=B c=dim y=H x=W" },
  build = function(g, p, t) g:output("y", part[p.part](g, p, t.x), "b c y x") end,
}
