-- SPDX-License-Identifier: Apache-2.0
-- CLIP's ViT on the frames of a video: some channels of keys and values come from another frame; linear
-- adapters around the projections fold into them by algebra, and both forms are computed.
local lap, nn = require "lap", require "lib.nn"

-- The four projections of layer i as affine maps { W, b }; c is the width of the residual.
local function projections(g, p, pre)
  local s = { s = 3, h = p.heads, d = p.width // p.heads, c = p.width, f = 4 * p.width }
  local function map(W, b, spec, out)
    return { W = g:weight(pre .. W, spec, s), b = g:weight(pre .. b, out, s), names = { W, b },
      specs = { spec, out } }
  end
  return {
    map("attn.in_proj_weight", "attn.in_proj_bias", "(s h d) c", "(s h d)"),
    map("attn.out_proj.weight", "attn.out_proj.bias", "c (h d)", "c"),
    map("mlp.c_fc.weight", "mlp.c_fc.bias", "f c", "f"),
    map("mlp.c_proj.weight", "mlp.c_proj.bias", "c f", "c"),
  }
end

-- t + scale * fc2(fc1(t)), and the same as one affine map e = A c + a:
-- A = I + scale W2 W1, a = scale (W2 b1 + b2).
local function adapter(g, p, name)
  local s = { c = p.width, r = math.floor(p.width * p.adapter_ratio) }
  local function w(key, spec) return g:weight(name .. "." .. key, spec, s) end
  local W1, b1 = w("D_fc1.weight", "r c"), w("D_fc1.bias", "r")
  local W2, b2 = w("D_fc2.weight", "c r"), w("D_fc2.bias", "c")
  local function apply(t)
    return t + p.adapter_scale * ((t:dot(W1, "c") + b1):dot(W2, "r") + b2)
  end
  local out, eye = W2:as "c -> e", g:index("e", p.width):eq(g:index("c", p.width)):int()
  return { apply = apply, A = eye + p.adapter_scale * out:dot(W1, "r"),
    a = p.adapter_scale * (out:dot(b1, "r") + b2:as "c -> e") }
end
local function before(m, t)                        -- projection of the adapter's output
  local W = m.W:as "c -> e"
  return { W = W:dot(t.A, "e"), b = W:dot(t.a, "e") + m.b }
end
local function after(m, t)                         -- adapter of the projection's output
  return { W = t.A:dot(m.W, "c"):as "e -> c", b = (t.A:dot(m.b, "c") + t.a):as "e -> c" }
end

local function folds(p)                            -- channels that look back and ahead, far back
  return p.width // p.shift_div, p.long_shift_div > 0 and p.width // p.long_shift_div or 0
end
-- Channels [0,f) look shift_stride frames back, [f,2f) ahead, the third fold 2 back; a frame without
-- such a neighbour keeps its own.
local function shift(p, k)
  local f, far = folds(p)
  local t, channel = k:index "t", k:index "h" * (p.width // p.heads) + k:index "d"
  local by = lap.where(channel:lt(f), -p.shift_stride, lap.where(channel:lt(2 * f), p.shift_stride,
    lap.where(channel:lt(2 * f + far), -2, 0)))
  local from = t + by
  return k:at("t", lap.where(from:ge(0) & from:lt(p.num_frames), from, t))
end

local function same(a) return a end
-- Layers are four maps and what stands around them: T_in, S, M, M_out.
local function forward(g, p, x, layers)
  local function apply(t, m, over) return t:dot(m.W, over) + m.b end
  local function ln(t, name) return nn.layernorm(t, name, "c", p.ln_eps) end
  for i, l in ipairs(layers) do
    local pre = ("transformer.resblocks.%d."):format(i - 1)
    local q, k, v = apply((l.T_in or same)(ln(x, pre .. "ln_1")), l[1], "c"):unstack "s"
    q, k, v = q:queries("n -> j", shift(p, k), shift(p, v))
    local o = g:attend { keys = "j", score = q:dot(k, "d") * (p.width // p.heads) ^ -0.5, value = v }.out
    x = x + (l.S or same)(apply(o, l[2], "h d"))
    local m = apply((l.M or same)(ln(x, pre .. "ln_2")), l[3], "c")
    x = x + (l.M_out or same)(apply(m * (1.702 * m):sigmoid(), l[4], "f"))
  end
  return ln(x:at("n", 0), "ln_post")
end

local function embed(g, p, images)                 -- [b t n c]
  local side = p.resolution // p.patch_size
  local s = { c = p.width, i = 3, v = p.patch_size, u = p.patch_size, t = p.num_frames,
    n = side * side + 1 }
  local patches = images:dot(g:weight("conv1.weight", "c i v u", s), "i v u"):merge "y x -> n"
  local n = g:index("n", s.n)
  local x = lap.where(n:eq(0), g:weight("class_embedding", "c", s), patches:at("n", n - 1, 0))
  x = x + g:weight("positional_embedding", "n c", s) + g:weight("temporal_embedding", "1 t c", s)
  return nn.layernorm(x, "ln_pre", "c", p.ln_eps)
end

local function refuse(p)
  local f, far = folds(p)
  if p.width % p.heads ~= 0 then return "heads must divide width" end
  if p.resolution % p.patch_size ~= 0 then return "patch_size must divide resolution" end
  if 2 * f + far > p.width then return "the shifted folds exceed the width" end
  if p.shift_stride >= p.num_frames then return "shift_stride must be less than num_frames" end
  if far > 0 and p.num_frames < 3 then return "a long shift needs 3 frames" end
  if p.adapters and math.floor(p.width * p.adapter_ratio) < 1 then
    return "adapter_ratio leaves no hidden channel"
  end
end

return {
  name = "zero_i2v", family = "video",
  paper = "ZeroI2V: Zero-Cost Adaptation of Pre-trained Transformers from Image to Video",
  doc = "a ViT with channels shifted in time, and linear adapters that fold into its projections",
  reference = "leexinhao/ZeroI2V (Apache-2.0)",
  params = {
    resolution = { "int", 224, "side of a frame", min = 1 },
    patch_size = { "int", 16, "side of a patch", min = 1 },
    num_frames = { "int", 16, "frames of a clip", min = 1 },
    width = { "int", 768, "channels", min = 1 },
    layers = { "int", 12, "layers", min = 0, max = 64 }, heads = { "int", 12, "heads", min = 1 },
    shift_div = { "int", 12, "width // shift_div channels look back, as many ahead", min = 1 },
    shift_stride = { "int", 1, "by so many frames", min = 1 },
    long_shift_div = { "int", -1, "above 0: width // long_shift_div channels look 2 frames back" },
    num_tadapter = { "int", 2, "adapters before and after the MLP, or before it", min = 1, max = 2 },
    adapter_scale = { "float", 0.5, "scale of the adapters" },
    adapter_ratio = { "float", 0.25, "their bottleneck over width", min = 0 },
    ln_eps = { "float", 1e-5, "of the layer norms", min = 0 },
    adapters = { "bool", true, "the weights hold adapters; false: they are merged" },
  },
  dims = { B = 1 },
  refuse = refuse,
  inputs = { x = "b=B i=3 t=num_frames (y=resolution/patch_size v=patch_size) "
    .. "(x=resolution/patch_size u=patch_size)" },
  build = function(g, p, t)
    local x, layers, folded = embed(g, p, t.x), {}, {}
    for i = 0, p.layers - 1 do
      local pre = ("transformer.resblocks.%d."):format(i)
      local m = projections(g, p, pre)
      layers[i + 1] = m
      if p.adapters then
        local function named(name) return adapter(g, p, pre .. name) end
        local T, S, M = named "T_Adapter_in", named "S_Adapter", named "MLP_Adapter"
        local O = p.num_tadapter == 2 and named "MLP_Adapter_out" or nil
        local new = { before(m[1], T), after(m[2], S), before(m[3], M), O and after(m[4], O) or m[4] }
        m.T_in, m.S, m.M, m.M_out, folded[i + 1] = T.apply, S.apply, M.apply, O and O.apply, new
        for j = 1, 4 do
          g:output("merged." .. pre .. m[j].names[1], new[j].W, m[j].specs[1])
          g:output("merged." .. pre .. m[j].names[2], new[j].b, m[j].specs[2])
        end
      end
    end
    g:output("features", forward(g, p, x, layers), "b c t")
    if p.adapters then g:output("features_merged", forward(g, p, x, folded), "b c t") end
  end,
}
