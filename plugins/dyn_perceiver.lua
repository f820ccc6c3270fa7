-- SPDX-License-Identifier: Apache-2.0
-- A CNN and a few latent tokens run side by side and read each other before every stage; a sample
-- leaves at the first of four classifiers that is sure enough. All four are computed.
local lap, nn = require "lap", require "lib.nn"

local function ln(p, x, name, axis) return nn.layernorm(x, name, axis or "c", p.ln_eps) end
local function conv_bn(p, x, name, bn, spec, o)
  o.bias, o.pad = false, o.k // 2
  return nn.batchnorm(nn.conv(x, name, spec, o), bn, "c", p.bn_eps)
end

-- q [.. c] attends to kv [.. c] over the axes `keys`, at the given inner width.
local function mha(g, p, q, kv, name, keys, heads, width)
  local s = { h = heads, d = width // heads, c = q:size "c", u = p.pool_size, v = p.pool_size }
  local function project(x, to) return nn.linear(x, name .. to, "c -> (h d)", s, { bias = false }) end
  local Q, K, V = project(q, ".q_proj"), project(kv, ".k_proj"), project(kv, ".v_proj")
  if keys == "u v" then                            -- pooled features have a vector per place
    K = K + g:weight(name .. ".relative_position_bias", "1 (u v) (h d)", s)
  end
  local o = g:attend { keys = keys, score = Q:dot(K, "d") * s.d ^ -0.5, value = V }
  return nn.linear(o.out, name .. ".o_proj", "(h d) -> c", s)
end
local function mlp(p, x, name, wide)
  return x + nn.mlp(ln(p, x, name .. ".layernorm"), name .. ".fc1", name .. ".fc2", wide * x:size "c")
end
local function cross(g, p, q, kv, name, keys, width)
  local pre = name .. ".cross_attn."
  local Q, KV = ln(p, q, pre .. "q_norm"), ln(p, kv, pre .. "kv_norm")
  return mlp(p, q + mha(g, p, Q, KV, pre .. "attention", keys, 1, width), name .. ".mlp", 1)
end
local function x_to_z(g, p, z, x, s)
  if p.with_dwc then x = x + nn.depthwise(x, ("dwc%d_x2z"):format(s), "c", { k = 7 }) end
  local cells = nn.adaptive_avg_pool(x, "y x", p.pool_size):as "y x -> u v"
  return cross(g, p, z, cells, ("cross_att%d_x2z"):format(s), "u v", z:size "c")
end
local function z_to_x(g, p, x, z, name) return cross(g, p, x, z, name, "n", x:size "c" // 8) end
local function self_stack(g, p, z, s)
  for i = 0, p.sa_depths[s] - 1 do
    local name = ("self_att%d.%d"):format(s, i)
    local y, keys = ln(p, z, name .. ".self_attn.norm"):queries "n -> j"
    z = z + mha(g, p, y, keys, name .. ".self_attn.attention", "j", p.sa_heads[s], z:size "c")
    z = mlp(p, z, name .. ".mlp", p.sa_widening)
  end
  return z
end
local function cnn_stage(p, x, s)
  for i = 0, p.cnn_depths[s] - 1 do
    local name = ("cnn_body_stage%d.%d"):format(s, i)
    local stride, sizes = (i == 0 and s > 1) and 2 or 1, { c = p.channels[s] }
    local function part(a, which, norm, k, by)
      return conv_bn(p, a, name .. which, name .. norm, "c -> c", { k = k, stride = by, sizes = sizes })
    end
    local y = part(nn.relu(part(x, ".conv1", ".bn1", 3, stride)), ".conv2", ".bn2", 3, 1)
    local is_same = stride == 1 and x:size "c" == sizes.c
    x = nn.relu(y + (is_same and x or part(x, ".downsample.0", ".downsample.1", 1, stride)))
  end
  return x
end

local function backbone(g, p, image)
  local classes, out = { o = p.num_classes }, {}
  local function classify(v, name) out[#out + 1] = nn.linear(v, name, "c -> o", classes) end
  local stem = { k = 7, stride = 2, sizes = { c = p.stem_channels } }
  local x = conv_bn(p, image, "cnn_stem.0", "cnn_stem.1", "r -> c", stem)
  x = nn.max_pool(nn.relu(x), "y x", { size = 3, stride = 2, pad = 1 })
  local z = g:weight("latent", "n c", { n = p.num_latents, c = p.stem_channels })
  z = self_stack(g, p, x_to_z(g, p, z, x, 1), 1)
  for s = 2, 4 do
    x = cnn_stage(p, x, s - 1)
    local mix, wide = ("token_mixer.%d."):format(s - 2), ("token_expander.%d."):format(s - 2)
    z = nn.linear(ln(p, z, mix .. "0", "n"), mix .. "1", "n -> n", { n = p.num_latents >> (s - 1) })
    z = nn.linear(ln(p, z, wide .. "0"), wide .. "1", "c -> c", { c = p.channels[s - 1] })
    if p.with_z2x then x = z_to_x(g, p, x, z, ("cross_att%d_z2x"):format(s)) end
    if p.with_x2z then z = x_to_z(g, p, z, x, s) end
    z = self_stack(g, p, z, s)
    if s == 3 then classify(z:mean "n", "early_classifier3") end
  end
  local function joined(list, y, name)             -- the list, and earlier logits coupled in
    if p.with_isc then
      local w = nn.linear(y, name .. ".0", "o -> c", { c = lap.dim.symbol(name:upper()) })
      list[#list + 1] = nn.relu(nn.batchnorm(w, name .. ".1", "c", p.bn_eps))
    end
    return lap.cat("c", list)
  end
  local m = z:mean "n"
  classify(joined({ m }, out[1], "isc3"), "classifier_att")
  x = cnn_stage(p, x, 4)
  classify(x:mean "y x", "classifier_cnn")
  if p.with_last_ca then x = z_to_x(g, p, x, z, "last_cross_att_z2x") end
  local all = joined({ x:mean "y x", m }, out[2], "isc4")
  classify(nn.batchnorm(all, "classifier_merge.0", "c", p.bn_eps), "classifier_merge.1")
  return out
end

local function refuse(p)
  for _, name in ipairs { "channels", "cnn_depths", "sa_heads", "sa_depths", "thresholds" } do
    if #p[name] ~= 4 then return ("%s must have 4 entries, found %d"):format(name, #p[name]) end
  end
  for s, width in ipairs { p.stem_channels, table.unpack(p.channels, 1, 3) } do
    if width % p.sa_heads[s] ~= 0 then return ("sa_heads[%d] must divide %d"):format(s, width) end
  end
  for s, width in ipairs(p.channels) do
    local reads = s < 4 and p.with_z2x or s == 4 and p.with_last_ca     -- at width // 8
    if reads and width < 8 then return ("channels[%d] must be at least 8"):format(s) end
  end
end

return {
  name = "dyn_perceiver", family = "early exit",
  paper = "Dynamic Perceiver for Efficient Visual Recognition",
  doc = "a CNN and latent tokens with cross-attention both ways and four exits",
  reference = "LeapLabTHU/Dynamic_Perceiver, models/ (MIT)",
  params = {
    stem_channels = { "int", 8, "channels of the stem", min = 1 },
    channels = { "list of int", { 8, 8, 12, 12 }, "channels of the stages", min = 1 },
    cnn_depths = { "list of int", { 1, 1, 1, 1 }, "blocks of the stages", min = 0, max = 64 },
    num_latents = { "int", 16, "latent tokens, halved from stage to stage", min = 8 },
    sa_heads = { "list of int", { 1, 2, 4, 3 }, "heads of the latent stages", min = 1 },
    sa_depths = { "list of int", { 1, 1, 1, 1 }, "self-attention layers", min = 0, max = 64 },
    sa_widening = { "int", 2, "hidden over width", min = 1 }, num_classes = { "int", 5, "classes", min = 1 },
    with_x2z = { "bool", true, "latents read features in stages 2 to 4" },
    with_z2x = { "bool", true, "features read latents" },
    with_dwc = { "bool", true, "a depthwise convolution before latents read" },
    with_last_ca = { "bool", true, "the last features read latents" },
    with_isc = { "bool", true, "later classifiers see earlier logits" },
    pool_size = { "int", 7, "side of the features that latents read", min = 1 },
    thresholds = { "list of float", { 0.9, 0.9, 0.9, 0.0 }, "least confidence of the exits" },
    bn_eps = { "float", 1e-5, "of batch norms", min = 0 }, ln_eps = { "float", 1e-5, "of layer norms" },
  },
  dims = { B = 1, H = 224, W = 224, ISC3 = 256, ISC4 = 512 },
  bench = { stem_channels = 64, channels = { 64, 128, 256, 512 }, cnn_depths = { 2, 2, 2, 2 },
    num_latents = 128, sa_heads = { 1, 2, 4, 8 }, sa_depths = { 3, 3, 9, 3 }, num_classes = 1000 },
  refuse = refuse,
  inputs = { x = "b=B r=3 y=H x=W" },
  build = function(g, p, t)
    local out, limit = backbone(g, p, t.x), { table.unpack(p.thresholds, 1, 3) }
    for k, name in ipairs { "y_early3", "y_att", "y_cnn", "y_merge" } do
      g:output(name, out[k], "b o")
    end
    limit[4] = -math.huge                          -- the last exit takes the rest
    local y = lap.stack("k", out)
    local confidence = y:softmax "o":max "o"
    local exit = confidence:ge(g:list("k", limit)):int():argmax "k"
    local chosen = y:at("k", exit)
    g:output("confidence", confidence, "b k")
    g:output("exit_index", exit, "b")
    g:output("logits", chosen, "b o")
    g:output("prediction", chosen:argmax "o", "b")
  end,
}
