-- SPDX-License-Identifier: Apache-2.0
-- A vision transformer with adapters recognises a place: image 0 asks a database. Global descriptors
-- find candidates, mutual nearest neighbours among local features re-rank them.
local lap, nn = require "lap", require "lib.nn"

local function adapter(p, x, name)
  local u = nn.linear(x, name .. ".D_fc1", "c -> f", { f = math.floor(p.dim * p.adapter_ratio) })
  return nn.linear(nn.relu(u), name .. ".D_fc2", "f -> c", { c = p.dim })
end
local function block(g, p, x, pre)
  local s = { s = 3, h = p.heads, d = p.dim // p.heads, c = p.dim }
  local function gamma(name) return g:weight(pre .. name .. ".gamma", "c", s) end
  local n = nn.layernorm(x, pre .. "norm1", "c", p.ln_eps)
  local q, k, v = nn.linear(n, pre .. "attn.qkv", "c -> (s h d)", s):unstack "s"
  q, k, v = q:queries("t -> j", k, v)
  local o = g:attend { keys = "j", score = (q * s.d ^ -0.5):dot(k, "d"), value = v }.out
  local y = nn.linear(o, pre .. "attn.proj", "(h d) -> c", s)
  x = x + gamma "ls1" * (y + adapter(p, y, pre .. "adapter1"))           -- serial, with a skip
  n = nn.layernorm(x, pre .. "norm2", "c", p.ln_eps)
  local mlp = nn.mlp(n, pre .. "mlp.fc1", pre .. "mlp.fc2", math.floor(p.dim * p.mlp_ratio))
  return x + gamma "ls2" * (mlp + p.adapter_scale * adapter(p, n, pre .. "adapter2"))   -- parallel
end

local function backbone(g, p, images)              -- [n i y v x u] -> patch tokens [n y x c]
  local R, cells = p.register_tokens, p.grid * p.grid
  local function w(name, spec, t)
    local s = { c = p.dim, t = t, i = 3, v = p.patch_size, u = p.patch_size }
    return g:weight("backbone." .. name, spec, s)
  end
  local patch = images:dot(w("patch_embed.proj.weight", "c i v u"), "i v u")
  patch = (patch + w("patch_embed.proj.bias", "c")):merge "y x -> t"
  local pos, each = w("pos_embed", "1 t c", 1 + cells), g:zeros("n", images)
  local parts = { w("cls_token", "1 t c", 1) + pos:slice("t", 0, 1) + each }
  if R > 0 then parts[2] = w("register_tokens", "1 t c", R) + each end
  parts[#parts + 1] = patch + pos:slice("t", 1, cells)
  local x = lap.cat("t", parts)
  for i = 0, p.depth - 1 do x = block(g, p, x, ("backbone.blocks.%d."):format(i)) end
  x = nn.layernorm(x, "backbone.norm", "c", p.ln_eps)
  return x:slice("t", 1 + R, cells):split("t -> y x", { y = p.grid, x = p.grid })
end

local function global_feature(g, p, F)             -- generalised mean
  local e = g:weight("aggregation.1.p", "1")
  return nn.unit((nn.unit(F, "c"):atleast(p.gem_eps) ^ e):mean "y x" ^ (1 / e), "c")
end
local function local_features(p, F)
  local function up(x, i)
    local o = { k = 3, stride = 2, pad = 1, sizes = { c = p.local_channels[i] } }
    return nn.conv_transpose(x, "LocalAdapt.upconv" .. i, "c -> c", o)
  end
  return nn.unit(up(nn.relu(up(F, 1)), 2), "c")
end

-- Places j of the query against places i of each database image: the number of pairs that choose each
-- other, and the mean similarity of these, or of equal places where there are fewer than two.
local function matches(L, M)
  local Q, C = L:at("n", 0):merge "y x -> j", L:slice("n", 1, M):merge "y x -> i"
  local S = Q:dot(C, "c")                                            -- [n j i]
  local to_c, to_q, j = S:argmax "i", S:argmax "j", S:index "j"
  local is_mutual = to_q:at("i", to_c):eq(j)
  local n = is_mutual:sum "j"
  local matched = lap.where(is_mutual, S:max "i", 0.0):sum "j" / n:atleast(1)
  return lap.where(n:eq(1), 0, n), lap.where(n:ge(2), matched, S:at("i", j):mean "j")
end

local function refuse(p)
  if p.dim % p.heads ~= 0 then return "heads must divide dim" end
  if p.gem_p <= 0 then return "gem_p must be positive" end
  if #p.local_channels ~= 2 then return "local_channels must have 2 entries" end
  if math.floor(p.dim * p.adapter_ratio) < 1 then return "adapter_ratio leaves no hidden channel" end
end
local function check_database(g, p, M)
  g:require(g:number(M):ge(p.rerank_num), "rerank_num exceeds the database")
  for _, name in ipairs { "positive", "negative" } do
    g:require(g:number(M):gt(p[name]), name .. " is no image of the database")
  end
  g:require(g:weight("aggregation.1.p", "1"):gt(0.0), "aggregation.1.p must be positive")
end

return {
  name = "selavpr", family = "retrieval",
  paper = "Towards Seamless Adaptation of Pre-trained Models for Visual Place Recognition",
  doc = "an adapted ViT, global descriptors and mutual matches of local features",
  reference = "Lu-Feng/SelaVPR (MIT)",
  params = {
    patch_size = { "int", 14, "side of a patch", min = 1 },
    grid = { "int", 16, "patches along each side", min = 1 },
    dim = { "int", 1024, "channels", min = 1 }, depth = { "int", 24, "blocks", min = 0, max = 64 },
    heads = { "int", 16, "heads", min = 1 },
    mlp_ratio = { "float", 4.0, "hidden width over dim", min = 0 },
    adapter_ratio = { "float", 0.5, "bottleneck over dim" },
    adapter_scale = { "float", 0.2, "scale of the parallel adapter" },
    register_tokens = { "int", 0, "tokens without a place, dropped at the end", min = 0 },
    gem_p = { "float", 3.0, "what the weight aggregation.1.p starts from" },
    gem_eps = { "float", 1e-6, "least value that is averaged" },
    local_channels = { "list of int", { 256, 128 }, "channels of the local features", min = 1 },
    ln_eps = { "float", 1e-6, "of the layer norms", min = 0 },
    rerank_num = { "int", 100, "candidates that are re-ranked", min = 1 },
    positive = { "int", 0, "database image of the same place, for the loss", min = 0 },
    negative = { "int", 1, "and one of another place", min = 0 },
  },
  dims = { M = "rerank_num" },
  made = { ["aggregation.1.p"] = 3 },
  bench = { rerank_num = 2 },
  refuse = refuse,
  inputs = { images = "n=1+M i=3 (y=grid v=patch_size) (x=grid u=patch_size)" },
  build = function(g, p, t)
    local M, K = t.images:size "n" - 1, p.rerank_num
    check_database(g, p, M)
    local F = backbone(g, p, t.images)
    local G, L = global_feature(g, p, F), local_features(p, F)
    local far = G:slice("n", 1, M) - G:at("n", 0)
    local first = (far * far):sum "c":topk("n -> k", K, { smallest = true })
    local counts, similarity = matches(L, M)
    counts = counts:at("n", first.index)
    local last_first = counts:flip "k":sort "k -> r".index            -- ties: the later one
    local loss = (similarity:at("n", p.negative) - similarity:at("n", p.positive)):atleast(0.0)
    g:output("global_features", G, "n c")
    g:output("local_features", L, "n y x c")
    g:output("local_features_first2", L:slice("n", 0, 2), "n y x c")
    g:output("distances", first.values, "k")
    g:output("first_ranking", first.index, "k")
    g:output("match_counts", counts, "k")
    g:output("reranked", first.index:at("k", K - 1 - last_first), "r")
    g:output("mnn_similarity", similarity, "n")
    g:output("mnn_loss", loss, "1")
  end,
}
