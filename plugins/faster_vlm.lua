-- SPDX-License-Identifier: Apache-2.0
-- Only the patches that the [CLS] query of the vision encoder attends to most pass the projector
-- and reach the language model, in the order of the picture.
local lap, nn = require "lap", require "lib.nn"

-- A CLIP layer on x [.. n c], and the attention of the [CLS] row to all tokens m, the mean over the heads.
local function clip_layer(g, p, x, pre)
  local sizes = { h = p.n_heads, d = p.dim // p.n_heads, c = p.dim, f = p.mlp_dim }
  local y = nn.layernorm(x, pre .. "layer_norm1", "c", p.ln_eps)
  local function project(name) return nn.linear(y, pre .. "self_attn." .. name, "c -> (h d)", sizes) end
  local q, k, v = project "q_proj":queries("n -> m", project "k_proj", project "v_proj")
  local a = g:attend { keys = "m", score = q:dot(k, "d") * sizes.d ^ -0.5, value = v }
  x = x + nn.linear(a.out, pre .. "self_attn.out_proj", "(h d) -> c", sizes)
  local u = nn.linear(nn.layernorm(x, pre .. "layer_norm2", "c", p.ln_eps), pre .. "mlp.fc1", "c -> f", sizes)
  x = x + nn.linear(u * (1.702 * u):sigmoid(), pre .. "mlp.fc2", "f -> c", sizes)
  return x, a.weights:at("n", 0):mean "h"
end

-- The encoder up to the chosen layer: tokens [.. n c], [CLS] first, and the [CLS] row of that layer.
local function encode(g, p, picture)
  local pre, count = "vision_model.embeddings.", picture:size "y" * picture:size "x"
  local sizes = { c = p.dim, ch = 3, py = p.patch_size, px = p.patch_size, n = count + 1 }
  local patches = picture:dot(g:weight(pre .. "patch_embedding.weight", "c ch py px", sizes), "ch py px")
  local is_class = g:index("n", count + 1):eq(0)
  local x = lap.where(is_class, g:weight(pre .. "class_embedding", "c", sizes),
    patches:merge "y x -> n":pad("n", 1, 0))
  x = x + g:weight(pre .. "position_embedding.weight", "n c", sizes)
  x = nn.layernorm(x, "vision_model.pre_layrnorm", "c", p.ln_eps)
  local row
  for i = 0, p.n_layers + p.select_layer do
    x, row = clip_layer(g, p, x, ("vision_model.encoder.layers.%d."):format(i))
  end
  return x, row
end
local function project(p, x)
  local width = { o = lap.dim.symbol "D" }
  for j = 0, p.proj_depth - 1 do
    if j > 0 then x = nn.gelu(x) end
    x = nn.linear(x, "mm_projector." .. 2 * j, "c -> o", width):as "o -> c"
  end
  return x
end

return {
  name = "faster_vlm", family = "pruning",
  doc = "a vision encoder that gives only the patches its [CLS] token looks at",
  paper = "[CLS] Attention is All You Need for Training-Free Visual Token Pruning: Make VLM Inference Faster",
  reference = "Theia-4869/FasterVLM, clip_encoder.py, llava_arch.py (Apache-2.0)",
  params = {
    dim = { "int", 16, "channels of the encoder", min = 1 },
    mlp_dim = { "int", 32, "its hidden width", min = 1 },
    n_layers = { "int", 4, "its layers", min = 1, max = 128 },
    n_heads = { "int", 4, "its heads", min = 1 },
    patch_size = { "int", 4, "side of a patch", min = 1 },
    ln_eps = { "float", 1e-5, "of the norms" },
    select_layer = { "int", -2, "the layer that is used, from the last, -1", max = -1 },
    visual_token_num = { "int", 9, "patches that a view keeps", min = 1 },
    proj_depth = { "int", 2, "linear layers of the projector", min = 1, max = 64 },
    merge = { "enum", { "single", "anyres" }, "single", "one view, or a base view and tiles" },
    grid_h = { "int", 1, "anyres: rows of tiles", min = 1 },
    grid_w = { "int", 1, "anyres: columns of tiles", min = 1 },
    image_token_id = { "int", -200, "the id that the image replaces" },
  },
  dims = { B = 1, S = 24, M = 64, D = 1024 },
  made = { input_ids = "1 + (image_token_id - 1) * max(0, 1 - m)" },      -- the image first
  bench = { dim = 1024, mlp_dim = 4096, n_layers = 8, n_heads = 16, patch_size = 14, visual_token_num = 58 },
  refuse = function(p)
    if p.dim % p.n_heads ~= 0 then return "dim must be a multiple of n_heads" end
    if p.select_layer < -p.n_layers then return "select_layer must lie in -n_layers..-1" end
  end,
  inputs = function(p)
    local views = p.merge == "single" and "(b v=1)" or "b v=1+grid_h*grid_w"
    return { pixel_values = views .. " ch=3 (y=S py=patch_size) (x=S px=patch_size)", input_ids = "int b m" }
  end,
  build = function(g, p, t)
    local S, T, M = t.pixel_values:size "y", p.visual_token_num, t.input_ids:size "m"
    g:require(g:number(S * S):ge(T), "visual_token_num exceeds the patches of a view")
    local is_image = t.input_ids:eq(p.image_token_id)
    g:require(is_image:sum "m":eq(1), "every row of input_ids needs exactly one image_token_id")
    local x, row = encode(g, p, t.pixel_values)
    local score = row:slice("m", 1, S * S)
    local keep = score:topk("m -> k", T, { order = "position" }).index
    g:output("scores", score, "(b v) m")
    g:output("keep_idx", keep, "(b v) k")
    -- in order: the base view, then the tiles' patches along the rows of the whole picture
    local tile, r, c = keep:index "v" - 1, keep // S, keep % S
    local raster = (tile // p.grid_w * S + r) * (p.grid_w * S) + tile % p.grid_w * S + c
    local place = lap.where(tile:lt(0), keep, S * S + raster):merge "v k -> w"
    local order = place:sort("w -> u", { smallest = true }).index
    local visual = project(p, x:at("n", keep + 1)):merge "v k -> w":at("w", order)
    g:output("visual_tokens", visual, "b u c")
    -- they take the placeholder's place among the words
    local Tv, first = visual:size "u", is_image:int():argmax "m"
    local l = g:index("l", M - 1 + Tv)
    local is_text = l:lt(first) | l:ge(first + Tv)
    local id = t.input_ids:at("m", lap.where(l:lt(first), l, l - (Tv - 1)), 0)
    local words = g:weight("embed_tokens.weight", "w c", { c = lap.dim.symbol "D" })
    local word = words:at("w", lap.where(is_text, id, 0))
    g:output("inputs_embeds", lap.where(is_text, word, visual:at("u", l - first, 0)), "b l c")
  end,
}
