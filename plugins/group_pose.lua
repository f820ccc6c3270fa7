-- SPDX-License-Identifier: Apache-2.0
-- Every person is K keypoint queries and an instance query. Attention within each person, then across
-- persons among queries of one type, then deformable attention to a memory of several levels.
local lap, nn = require "lap", require "lib.nn"

local function mlp(x, name, widths)                -- layers c -> widths[1] -> .., ReLU between
  for i, width in ipairs(widths) do
    if i > 1 then x = nn.relu(x) end
    x = nn.linear(x, ("%s.layers.%d"):format(name, i - 1), "c -> c", { c = width })
  end
  return x
end

-- Sine embedding of places (x, y): the channels of y, then those of x, in pairs (sin, cos).
local function sine(p, place)
  local yx = lap.stack("half", { place:at("z", 1), place:at("z", 0) })
  local i = place.g:index("i", p.dim // 4)
  local angle = yx * (2 * math.pi) * (i * (-4.0 / p.dim * math.log(10000))):exp()
  return lap.stack("pair", { angle:sin(), angle:cos() }):merge "half i pair -> c"
end

-- Samples around the reference in every level of the memory, under one softmax per head.
local function deform(g, p, x, t, scaled, name)
  local s = { h = p.num_heads, l = #p.spatial_shapes, p = p.n_points, z = 2, d = p.dim // p.num_heads }
  local offset = nn.linear(x, name .. "sampling_offsets", "c -> (h l p z)", s)
  local weight = nn.linear(x, name .. "attention_weights", "c -> (h l p)", s)
  local value = nn.linear(t.memory, name .. "value_proj", "c -> (h d)", s)
  if t.memory_padding then value = lap.where(t.memory_padding:ne(0), 0.0, value) end
  local parts, start = {}, 0
  for l, size in ipairs(p.spatial_shapes) do
    local H, W = size[1], size[2]
    local map = value:slice("s", start, H * W):split("s -> y x", { y = H, x = W })
    local function pixel(z, n)
      local o = offset:at { l = l - 1, z = z }
      return (scaled(l - 1):at("z", z) + o / n) * n - 0.5
    end
    parts[l] = { keys = "p", score = weight:at("l", l - 1),
      value = nn.bilinear(map, pixel(1, H), pixel(0, W)) }
    start = start + H * W
  end
  local o = g:attend { parts = parts }.out
  return nn.linear(o, name .. "output_proj", "(h d) -> c", { c = p.dim })
end

-- The keypoints move; the centre is their mean.
local function refine(p, x, ref, name)
  local r = ref:slice("k", 1, p.num_keypoints):clamp(0.0, 1.0)
  local logit = (r:atleast(1e-3) / (1 - r):atleast(1e-3)):log()
  local move = mlp(x:slice("k", 1, p.num_keypoints), name, { p.dim, p.dim, 2 }):as "c -> z"
  r = (logit + move):sigmoid()
  return lap.cat("k", { r:mean "k":unit "k", r })
end

local function layer(g, p, x, ref, t, pre)
  local function norm(y, name) return nn.layernorm(y, pre .. name, "c") end
  local function attend(y, name, axis)
    return (nn.mha(y, pre .. name .. ".", p.num_heads, { tokens = axis }))
  end
  local function scaled(l) return ref * t.valid_ratios:at("l", l) end
  local pos = mlp(sine(p, scaled(0)), "half_pose_ref_point_head", { p.dim, p.dim })
  pos = lap.where(x:index "k":eq(0), 0.0, pos)
  x = x + pos                                      -- the residual keeps it, as in the authors' code
  x = norm(x + attend(x, "within_attn", "k"), "within_norm")
  x = norm(x + attend(x, "across_attn", "n"), "across_norm")
  x = x + pos
  x = norm(x + deform(g, p, x, t, scaled, pre .. "cross_attn."), "norm1")
  local y = nn.relu(nn.linear(x, pre .. "linear1", "c -> f", { f = p.ffn_dim }))
  return norm(x + nn.linear(y, pre .. "linear2", "f -> c", { c = p.dim }), "norm2")
end

local function is_size(n) return math.type(n) == "integer" and n >= 1 and n <= 65536 end
local function memory_size(p)                      -- pixels of all levels
  local S = 0
  for l, s in ipairs(p.spatial_shapes) do
    if type(s) ~= "table" or #s ~= 2 or not (is_size(s[1]) and is_size(s[2])) then
      lap.fail(("spatial_shapes[%d] must be two sizes, [H, W]"):format(l))
    end
    S = S + s[1] * s[2]
  end
  return S > 0 and S or lap.fail "spatial_shapes must name a level"
end

return {
  name = "group_pose", family = "detection",
  paper = "Group Pose: A Simple Baseline for End-to-End Multi-Person Pose Estimation",
  doc = "a pose decoder with attention within and across persons and deformable cross-attention",
  reference = "Michel-liu/GroupPose, models/grouppose/ (Apache-2.0)",
  params = {
    dim = { "int", 256, "channels, a multiple of 4", min = 4 },
    num_heads = { "int", 8, "heads", min = 1 },
    ffn_dim = { "int", 2048, "hidden width of the MLP", min = 1 },
    num_layers = { "int", 6, "layers", min = 1, max = 32 },
    n_points = { "int", 4, "samples per head and level", min = 1 },
    num_queries = { "int", 100, "persons", min = 1 },
    num_keypoints = { "int", 17, "keypoints of a person", min = 1 },
    spatial_shapes = { "list", { { 100, 134 }, { 50, 67 }, { 25, 34 }, { 13, 17 } },
      "sizes [H, W] of the memory's levels" },
  },
  dims = { B = 1 },
  refuse = function(p)
    if p.dim % p.num_heads ~= 0 then return "num_heads must divide dim" end
    if p.dim % 4 ~= 0 then return "dim must be a multiple of 4" end
  end,
  inputs = function(p)
    local S, points = memory_size(p), "(k=num_keypoints+1 z=2)"
    return { tgt = "b=B n=num_queries k=num_keypoints+1 c=dim", memory = ("s=%d b=B c=dim"):format(S),
      refpoints = "n=num_queries b=B " .. points, valid_ratios = "b=B l=#spatial_shapes z=2",
      memory_padding = ("? int b=B s=%d"):format(S) }
  end,
  build = function(g, p, t)
    local x, ref, refs = t.tgt, t.refpoints, {}
    for i = 0, p.num_layers - 1 do
      x = layer(g, p, x, ref, t, ("layers.%d."):format(i))
      ref = refine(p, x, ref, ("pose_embed.%d"):format(i))
      refs[i + 1] = ref
    end
    g:output("out", x, "b n k c")
    g:output("refs", lap.stack("i", refs), "i b n (k z)")
  end,
}
