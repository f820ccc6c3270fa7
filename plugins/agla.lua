-- SPDX-License-Identifier: Apache-2.0
-- The heat map of a question on an image, the gradient of an image-text match, masks the image; the
-- decoder then samples from the sum of the logits of both views.
local lap, nn = require "lap", require "lib.nn"
local blur, decoder, stack = require "lib.blur", require "lib.decoder", require "lib.stack"

-- Rows x [b t c] ask `memory`, whose tokens are on the axis `key` and whose features `from`. With
-- is_map also the map A [b h t key], as a value, to differentiate by.
local function attention(g, p, x, memory, from, key, pre, bias, is_map)
  local sizes = { h = p.t_heads, d = p.t_dim // p.t_heads, c = p.t_dim }
  local function project(a, name, features)
    return nn.linear(a, pre .. "self." .. name, features .. " -> (h d)", sizes)
  end
  local v = project(memory, "value", from)
  local score = project(x, "query", "c"):dot(project(memory, "key", from), "d") * sizes.d ^ -0.5 + bias
  local A = is_map and score:softmax(key) or nil
  local o = A and A:dot(v, key) or g:attend { keys = key, score = score, value = v }.out
  local y = x + nn.linear(o, pre .. "output.dense", "(h d) -> c", sizes)
  return nn.layernorm(y, pre .. "output.LayerNorm", "c", p.ln_eps), A
end

-- The encoder on ids [b t], with the image [b u v] or without: states [b t c], map of cam_block.
local function encode(g, p, ids, mask, image)
  local pre, map = "text_encoder.embeddings.", nil
  local words = nn.embedding(ids, pre .. "word_embeddings", "w c", { w = p.t_vocab, c = p.t_dim })
  local table_size = { m = lap.dim.symbol "M", c = p.t_dim }
  local places = nn.embedding(ids:index "t", pre .. "position_embeddings", "m c", table_size)
  local x = nn.layernorm(words + places, pre .. "LayerNorm", "c", p.ln_eps)
  local bias = (1 - mask:as "t -> j") * -10000.0
  for i = 0, p.t_layers - 1 do
    pre = ("text_encoder.encoder.layer.%d."):format(i)
    x = attention(g, p, x, x:as "t -> j", "c", "j", pre .. "attention.", bias)
    if image then
      local A
      x, A = attention(g, p, x, image, "v", "u", pre .. "crossattention.", 0.0, i == p.cam_block)
      map = A or map
    end
    x = x + nn.mlp(x, pre .. "intermediate.dense", pre .. "output.dense", p.t_ffn)
    x = nn.layernorm(x, pre .. "output.LayerNorm", "c", p.ln_eps)
  end
  return x, map
end

-- Heat of the image's patches [b u], from the map's gradient for a match.
local function grad_cam(g, p, t, mask)
  local place = t.itm_ids:index "t"
  local ids = lap.where(place:eq(0), p.enc_token_id, t.itm_ids)
  local x, A = encode(g, p, ids, mask, t.itm_image_embeds)
  local match = nn.linear(x:at("t", 0), "itm_head", "c -> o", { o = 2 }):at("o", 1)
  local D = lap.grad({ { match, g:full(1.0, "b", match) } }, { A })[1]
  local R = mask * (A * nn.relu(D)):mean "h"
  local n = mask:sum "t" - 2
  return lap.where(place:ge(1) & place:le(n), R, 0):sum "t" / n
end
local function similarity(g, p, t, mask)
  local y = encode(g, p, t.itm_ids, mask)
  local size = { k = p.embed_dim }
  local a = nn.linear(t.itm_image_embeds:at("u", 0), "vision_proj", "v -> k", size)
  local c = nn.linear(y:at("t", 0), "text_proj", "c -> k", size)
  return nn.unit(a, "k"):dot(nn.unit(c, "k"), "k")
end
local function unit_range(a)
  a = a - a:min "y x"
  return a / a:max "y x"
end

local function decode(g, p, picture, t)            -- logits of the last position
  local sizes = { c = p.dim, i = 3, py = p.patch_size, px = p.patch_size }
  local tiles = picture:split("y -> y py", sizes):split("x -> x px", sizes)
  local patches = tiles:dot(g:weight("patch_embed.weight", "c i py px", sizes), "i py px")
  patches = (patches + g:weight("patch_embed.bias", "c", sizes)):merge "y x -> n"
  local x = lap.cat("n", { t.embeds_pre, patches, t.embeds_post })
  for i = 0, p.n_layers - 1 do x = decoder.layer(g, p, i, x, x:index "n", {}) end
  return stack.logits(decoder.norm(p, x:at("n", x:size "n" - 1)))
end

return {
  name = "agla", family = "steering",
  doc = "decoding on an image and on its part that the question is about",
  paper = "Mitigating Object Hallucinations in Large Vision-Language Models with Assembly of Global "
    .. "and Local Attention",
  reference = "Lackel/AGLA: augmentation.py, sample.py, LAVIS parts (BSD-3-Clause); scikit-image 0.26",
  params = decoder.params {
    t_dim = { "int", 12, "encoder: channels", min = 1 },
    t_heads = { "int", 3, "encoder: heads", min = 1 },
    t_layers = { "int", 3, "encoder: layers", min = 1, max = 128 },
    t_ffn = { "int", 20, "encoder: hidden width", min = 1 },
    t_vocab = { "int", 30, "encoder: words", min = 1 },
    v_dim = { "int", 14, "encoder: width of the image's features", min = 1 },
    embed_dim = { "int", 8, "width of the space of similarity", min = 1 },
    cam_block = { "int", 1, "layer of the heat map, not the last", min = 0 },
    enc_token_id = { "int", 2, "id that replaces token 0 for a match", min = 0 },
    ln_eps = { "float", 1e-12, "of the encoder's norms" },
    grid = { "int", 6, "side of the image's features", min = 1 },
    patch_size = { "int", 6, "side of the decoder's patches", min = 1 },
    n_layers = { "int", 2, "layers", min = 1, max = 128 },
    alpha = { "float", 2.0, "weight of the masked view" },
    beta = { "float", 0.5, "share of the best probability that is plausible", max = 1 },
  },
  dims = { B = 1, R = "grid", T = 16, M = 512, PRE = 35, POST = 32 },
  made = { itm_mask = 1 },
  bench = decoder.bench { t_dim = 768, t_heads = 12, t_layers = 12, t_ffn = 3072, t_vocab = 30524,
    v_dim = 1024, embed_dim = 256, cam_block = 6, grid = 24, patch_size = 16 },
  refuse = function(p)
    if p.cam_block >= p.t_layers - 1 then return "cam_block must lie in 0..t_layers-2" end
    if p.t_dim % p.t_heads ~= 0 then return "t_dim must be a multiple of t_heads" end
    if p.beta <= 0 then return "beta must lie in (0, 1]" end
    return decoder.refuse(p)
  end,
  inputs = {
    image = "b i=3 y=R*patch_size x=R*patch_size", itm_image_embeds = "b u=1+grid*grid v=v_dim",
    itm_ids = "int b t", itm_mask = "int b t", embeds_pre = "b n=PRE c=dim", embeds_post = "b n=POST c=dim",
  },
  build = function(g, p, t)
    local S, mask = t.image:size "y", t.itm_mask
    g:require(mask:sum "t":ge(3), "itm_mask leaves no word between the first and the last token")
    local heat = grad_cam(g, p, t, mask)
    local map = heat:slice("u", 1, p.grid * p.grid):split("u -> y x", { x = p.grid })
    g:require(map:max "y x":gt(map:min "y x"), "the heat map is flat: no gradient says what to keep")
    local itc = similarity(g, p, t, mask)
    local m = unit_range(map)
    local big = nn.spline(m, "y x", { y = S, x = S }):clamp(m:min "y x", m:max "y x")
    local cam = unit_range(blur.gaussian(big, "y x", 0.02))
    local ratio = (1 - itc / 2):atmost(1 - 1e-5)
    local falling = cam:merge "y x -> s":sort "s -> r".values
    local keep = cam:ge(falling:at("r", (S * S * ratio):int()))
    local aug = lap.where(keep, t.image, 0)

    local z, z_aug = decode(g, p, t.image, t), decode(g, p, aug, t)
    local plausible = z:ge(math.log(p.beta) + z:max "o")
    local probs = lap.where(plausible, z + p.alpha * z_aug, -math.huge):softmax "o"
    for _, o in ipairs { { "gradcam", map, "b y x" }, { "itc", itc, "b" }, { "cam", cam, "b y x" },
      { "mask", keep, "b y x" }, { "image_aug", aug, "b i y x" }, { "logits", z, "b o" },
      { "logits_aug", z_aug, "b o" }, { "plausible", plausible, "b o" }, { "probs", probs, "b o" } } do
      g:output(o[1], o[2], o[3])
    end
  end,
}
