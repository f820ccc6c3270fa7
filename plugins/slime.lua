-- SPDX-License-Identifier: Apache-2.0
-- The global view passes a gated mixture of two adapters. Local views are compressed by learned
-- queries; of their tokens those stay that are most like the question, up to a cumulative probability.
local lap, nn = require "lap", require "lib.nn"

-- Learned queries on a grid (qy qx) of side G read the tokens x [.. y x c].
local function resample(g, x, pre, heads, G)
  local sizes = { qy = G, qx = G, c = x:size "c" }
  local pos = g:weight(pre .. "pos_embed", "(qy qx) c", sizes)
  local query = g:weight(pre .. "query", "(qy qx) c", sizes)
  local y = nn.layernorm(x, pre .. "ln_kv", "c", 1e-6)
  local up = nn.resize(pos:as "qy qx -> y x", "y x", { y = x:size "y", x = x:size "x" }, { mode = "cubic" })
  local q = nn.layernorm(query, pre .. "ln_q", "c", 1e-6) + pos
  local o = nn.mha(q, pre .. "attn.", heads, { memory = y + up, values = y, keys = "y x" })
  return nn.layernorm(o, pre .. "ln_post", "c", 1e-6)
end

-- How like the text [u c] each candidate [m c] is: cosines summed, or what a cross-attention says.
local function cosine(x, text, is_valid)
  local function norm(a) return (a * a):sum "c":sqrt():atleast(1e-8) end
  return lap.where(is_valid, x:dot(text, "c") / (norm(x) * norm(text)), 0):sum "u"
end
local function qformer(p, x, text, is_valid)
  local pre = "sampler.selector."
  local function norm(a, name) return nn.layernorm(a, pre .. name, "c") end
  local a = nn.mha(norm(x, "ln_q"), pre .. "cross_attn.", p.heads_t,
    { memory = norm(text, "ln_kv"), keys = "u", where = is_valid })
  local h = nn.relu(nn.linear(norm(a, "ln_post"), pre .. "prob_proj.0", "c -> f", { f = x:size "c" / 4 }))
  local logit = nn.linear(h, pre .. "prob_proj.2", "f -> o", { o = 1 }):at("o", 0)
  return (logit / p.temp):softmax "m"
end

-- What a view must be like, so that nothing else is asked of other sizes.
local function require_shapes(g, p, x, D, G)
  local n, P, Dv = x:size "y" * x:size "x", x:size "v" - 1, x:size "c"
  g:require(g:number(P):ge(1), "image_features must hold a global and a local view")
  g:require((g:number(Dv) % p.heads_v):eq(0), "heads_v must divide the width of image_features")
  if p.router == "qformer" then
    g:require((g:number(D) % p.heads_t):eq(0), "heads_t must divide the width of text_embeds")
  end
  g:require(g:number(G * G):ne(n) | g:number(P):ne(n),
    "as many queries and local views as a view has tokens: no local view can be told from a global one")
end

-- Outputs keep_idx: the head of the falling order up to the mass topp, and one more; also the count.
local function select(g, p, prob)
  local all = prob:size "m"
  local count = g:number(all)
  if p.topp < 1 then
    local mass = prob:sort "m -> k".values:cumsum "k"
    count = (mass:le(p.topp):sum "k" + 1):atmost(all)
  end
  local keep = prob:topk("m -> k", count, { order = "position" }).index
  g:output("keep_idx", keep, "k", { crop = { k = count } })
  return keep, count
end

return {
  name = "slime", family = "pruning",
  doc = "adapters for a global view and local views, routed by the question",
  paper = "Beyond LLaVA-HD: Diving into High-Resolution Large Multimodal Models",
  reference = "yfzhang114/SliME, multimodal_projector, multimodal_resampler, llava_arch.py (Apache-2.0)",
  params = {
    heads_v = { "int", 2, "heads of the resamplers", min = 1 },
    heads_t = { "int", 2, "heads of the attention router", min = 1 },
    expert = { "int", -1, "-1: the gated mixture; 0 or 1: one adapter", min = -1, max = 1 },
    merge = { "enum", { "spatial", "flat" }, "spatial", "local tokens in raster order or view by view" },
    grid_h = { "int", 2, "spatial: rows of views", min = 1 },
    grid_w = { "int", 2, "spatial: columns of views", min = 1 },
    router = { "enum", { "cosine", "qformer" }, "cosine", "what says how like the text a token is" },
    topp = { "float", 0.6, "cumulative probability that stays", min = 0 },
    temp = { "float", 1.0, "temperature, above 0" },
  },
  dims = { S = 24, G = 12, DV = 1024, D = 1024, V = 5, U = 32 },
  made = { text_mask = 1 },
  bench = { heads_v = 8, heads_t = 8 },
  refuse = function(p)
    if p.temp <= 0 then return "temp must be above 0" end
  end,
  inputs = function(p)
    local views = p.merge == "spatial" and "v=1+grid_h*grid_w" or "v"
    return { image_features = views .. " (y=S x=S) c=DV", text_embeds = "u c=D", text_mask = "int u" }
  end,
  build = function(g, p, t)
    local x, D, G = t.image_features, t.text_embeds:size "c", lap.dim.symbol "G"
    local is_valid = t.text_mask:gt(0)
    require_shapes(g, p, x, D, G)
    g:require(is_valid:any "u", "text_mask leaves no token")
    local function project(a)
      local h = nn.gelu(nn.linear(a, "mm_projector.projection.0", "c -> o", { o = D }))
      return nn.linear(h, "mm_projector.projection.2", "o -> o"):as "o -> c"
    end
    -- the global view
    local whole = x:at("v", 0)
    local read = resample(g, whole, "mm_projector.attn.", p.heads_v, x:size "y")
    local gate = whole:dot(g:weight("mm_projector.w_gate", "c e", { c = x:size "c", e = 2 }), "c")
    gate = gate:softmax "e"
    gate = gate / (gate:sum "e" + 1e-6)
    local experts = lap.stack("e", { project(whole), project(read:as "qy qx -> y x") })
    local global = p.expert >= 0 and experts:at("e", p.expert) or experts:dot(gate, "e")
    g:output("global_features", global, "(y x) c")
    g:output("gates", gate, "(y x) e")
    -- local views, G x G tokens each
    local views = x:slice("v", 1, x:size "v" - 1)
    local local_x = project(resample(g, views, "sampler.post_qformer.", p.heads_v, G))
    if p.merge == "flat" then
      local_x = local_x:merge "v qy qx -> m"
    else
      local_x = local_x:split("v -> vy vx", { vx = p.grid_w }):merge "vy qy vx qx -> m"
    end
    local worth = p.router == "cosine" and cosine(local_x, t.text_embeds, is_valid)
      or qformer(p, local_x, t.text_embeds, is_valid)
    local prob = (worth / p.temp):softmax "m"
    g:output("local_candidates", local_x, "m c")
    g:output("probs", prob, "m")
    local keep, count = select(g, p, prob)
    local separator = g:weight("separator", "(n c)", { n = 1, c = D })
    local tokens = lap.cat("n", { global:merge "y x -> n", separator, local_x:at("m", keep):as "k -> n" })
    local n_global = x:size "y" * x:size "x"
    g:output("image_tokens", tokens, "n c", { crop = { n = n_global + 1 + count } })
  end,
}
