-- SPDX-License-Identifier: Apache-2.0
-- Text queries that look at a scene token in one layer read its dense tokens in the next: one
-- softmax over the causal keys and the chosen dense ones. The choice is by the plain map, and the
-- same for all heads.
local lap, nn, decoder = require "lap", require "lib.nn", require "lib.decoder"

local function project(x, p)                       -- features [.. e] -> tokens [.. c]
  local function linear(a, j, spec)
    return nn.linear(a, "encoder_to_llm_projection." .. j, spec, { c = p.dim })
  end
  return linear(nn.relu(linear(nn.relu(linear(x, 0, "e -> c")), 2, "c -> c")), 4, "c -> c")
end

-- Scene tokens s that the text queries n look at; P [b n g r m] the map of these queries on the
-- scene tokens m.
local function choose(P, p)
  local mass = P:sum "g r":as "m -> s"
  local lo, hi = mass:min "s", mass:max "s"
  local share = (mass - lo) / lap.where(hi:gt(lo), hi - lo, 1)    -- exactly 1 at the largest
  return (255 * share):gt(p.threshold)
end

return {
  name = "lscenellm", family = "routing",
  doc = "a decoder whose text reads dense scene tokens where it looks",
  paper = "LSceneLLM: Enhancing Large 3D Scene Understanding Using Adaptive Visual Preferences",
  reference = "Hoyyyaard/LSceneLLM, models/modeling_llama.py, adaptive_llm.py",
  params = decoder.params {
    dense_per_token = { "int", 3, "dense tokens of a scene token", min = 1 },
    start_layer = { "int", 2, "first layer that chooses; later ones read", min = 0 },
    text_start = { "int", 17, "the first text query", min = 0 },
    threshold = { "float", 96.0, "of the choice, on a scale up to 255" },
    blend = { "float", 1.0, "share of the fused result", min = 0, max = 1 },
  },
  dims = { B = 1, PRE = 5, T = "text_start - PRE", POST = 64, E = 256 },
  bench = decoder.bench { dense_per_token = 4, start_layer = 1, text_start = 133 },
  refuse = function(p)
    if p.start_layer >= p.n_layers then return "start_layer must be less than n_layers" end
    return decoder.refuse(p)
  end,
  inputs = {
    scene_feats = "b s=T e", dense_feats = "b (s=T k=dense_per_token) e",
    embeds_pre = "b n=PRE c=dim", embeds_post = "b n=POST c=dim",
  },
  build = function(g, p, t)
    local before, T, from = t.embeds_pre:size "n", t.scene_feats:size "s", p.text_start
    local scene, dense = project(t.scene_feats, p), project(t.dense_feats, p)
    local x = lap.cat("n", { t.embeds_pre, scene:as "s -> n", t.embeds_post })
    local N, sizes = x:size "n", { g = p.n_heads, d = p.dim // p.n_heads }
    g:require(g:number(T):ge(2), "scene_feats must hold at least two scene tokens")
    g:require(g:number(before + T):le(from), "text_start lies before the end of the scene tokens")
    g:require(g:number(N):gt(from), "text_start lies behind the last token")

    local cache, all, chosen = {}, {}, nil         -- chosen [b n s], n from text_start on
    for i = 0, p.n_layers - 1 do
      local function dense_heads(which)
        return nn.linear(dense, ("layers.%d.self_attn.%s_proj_hd"):format(i, which), "c -> (g d)", sizes,
          { bias = false })
      end
      local function attend(parts, q)
        local plain, reads = g:attend { parts = parts }, chosen
        if i >= p.start_layer then
          chosen = choose(plain.weights:slice("n", from, N - from):slice("m", before, T), p)
          table.insert(all, chosen)
        end
        if i <= p.start_layer then return plain.out end
        local n = q:index "n"
        local K = nn.rope(dense_heads "k", dense:index "s" + before, p.rope_theta)
        parts[2] = { keys = "s k", score = q:dot(K, "d") * decoder.scale(p), value = dense_heads "v",
          where = n:ge(from) & reads:at("n", n - from, false) }
        return (1 - p.blend) * plain.out + p.blend * g:attend { parts = parts }.out
      end
      x = decoder.layer(g, p, i, x, x:index "n", cache, { attend = attend })
    end
    decoder.finish(g, p, x)
    -- the dense tokens of a scene token go together
    local each = g:full(true, "k", { k = p.dense_per_token })
    g:output("selected", lap.stack("l", all) & each, "b l n (s k)")
  end,
}
