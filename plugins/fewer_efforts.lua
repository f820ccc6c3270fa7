-- SPDX-License-Identifier: Apache-2.0
-- Visual queries see their neighbours on the image's grid, masked heads and late layers skip the
-- image, visual tokens use the first units of the MLP. A calibration on the dense stack votes for
-- the heads.
local lap, nn, decoder = require "lap", require "lib.nn", require "lib.decoder"

local function image(p) return decoder.span(p.n_sys, p.grid_h * p.grid_w) end

-- Whether query i sees key j: causal, but among visual tokens by distance on the grid, both ways.
local function sees(p, i, j)
  local is_visual, reach = image(p), (p.window - 1) // 2
  local function row(a) return (a - p.n_sys) // p.grid_w end
  local function column(a) return (a - p.n_sys) % p.grid_w end
  local near = (row(i) - row(j)):abs():le(reach) & (column(i) - column(j)):abs():le(reach)
  return lap.where(is_visual(i) & is_visual(j), near, j:le(i))
end

-- Layer i with the head mask `active`; rows: the prompt's tokens, nil for a decoded token.
local function layer(g, p, i, x, pos, cache, active, rows)
  local is_visual, sizes = image(p), { f = p.ffn_dim, c = p.dim }
  local function attend(parts)
    local m = parts[1].value:index "m"
    if rows then parts[1].where = sees(p, rows, m) end
    -- behind the softmax: the mass of visual keys is lost, the denominator keeps it
    parts[1].after = lap.where(is_visual(m), i < p.layer_cut and active or 0, 1)
    local o = g:attend { parts = parts }.out
    return rows and o * lap.where(is_visual(rows), active, 1) or o
  end
  local function mlp(y, pre)
    local function linear(a, name, spec) return nn.linear(a, pre .. name, spec, sizes, { bias = false }) end
    local h = nn.silu(linear(y, "gate_proj", "c -> f")) * linear(y, "up_proj", "c -> f")
    local kept = math.floor(p.ffn_dim / p.mlp_cut)
    if rows then h = lap.where(is_visual(rows) & h:index "f":ge(kept), 0, h) end
    return linear(h, "down_proj", "f -> c")
  end
  return decoder.layer(g, p, i, x, pos, cache, { attend = attend, mlp = mlp })
end

local function forward(g, p, t)
  local x, cache, N = t.embeds, {}, t.embeds:size "n"
  decoder.room(g, p, N, p.grid_h * p.grid_w, 0)
  local function active(i) return t.head_mask:at("l", i) end
  for i = 0, p.n_layers - 1 do
    x = layer(g, p, i, x, x:index "n", cache, active(i), x:index "n")
  end
  decoder.finish(g, p, x)
  decoder.decode(g, p, t.decode_embeds, function(i, y, s)
    return layer(g, p, i, y, g:number(N + s), cache, active(i))
  end)
end

-- Which heads look at the image: the mass on visual keys against the rest, by a vote of the samples b.
local function calibrate(g, p, t)
  local x, ratio = t.embeds, {}
  decoder.room(g, p, x:size "n", p.grid_h * p.grid_w, p.n_sys > 0 and 0 or 1)
  for i = 0, p.n_layers - 1 do
    x = decoder.layer(g, p, i, x, x:index "n", {}, { attend = function(parts)
      local a = g:attend { parts = parts }
      local is_visual = image(p)(a.weights:index "m")
      local function mass(keys) return lap.where(keys, a.weights, 0):sum "n m" end
      ratio[i + 1] = mass(is_visual) / mass(~is_visual)
      return a.out
    end })
  end
  ratio = lap.stack("l", ratio)
  local vote = ratio:gt(p.threshold) | ratio:index "l":lt(p.protected_layers)
  g:output("head_ratio", ratio, "b l (g r)")
  g:output("head_mask", vote:sum "b":gt(p.votes), "l (g r)")
end

return {
  name = "fewer_efforts", family = "pruning",
  doc = "a decoder that prunes the computation of visual tokens",
  paper = "Treat Visual Tokens as Text? But Your MLLM Only Needs Fewer Efforts to See",
  reference = "ZhangAIPI/YOPO_MLLM_Pruning, modeling_llama_prune.py, gen_mask_llava.py (MIT)",
  params = decoder.params {
    part = { "enum", { "forward", "calibrate" }, "forward", "the pruned stack, or the vote for its heads" },
    n_kv_heads = decoder.n_kv_heads,
    n_sys = decoder.n_sys(4),
    grid_h = { "int", 5, "rows of the image", min = 1 },
    grid_w = { "int", 5, "columns of the image", min = 1 },
    window = { "int", 3, "side of a neighbourhood", min = 1 },
    layer_cut = { "int", 4, "from this layer on nobody reads the image", min = 0 },
    mlp_cut = { "float", 4.0, "visual tokens use 1/mlp_cut of the MLP", min = 1 },
    decode_steps = decoder.decode_steps,
    threshold = { "float", 0.5, "calibrate: mass on the image over the rest, for a vote" },
    protected_layers = { "int", 2, "calibrate: first layers, where all heads are active" },
    votes = { "int", 1, "calibrate: a head is active with more votes" },
  },
  dims = { B = 1, N = "n_sys + grid_h*grid_w + 64" },
  bench = decoder.bench { n_kv_heads = 16, n_sys = 35, grid_h = 24, grid_w = 24, window = 7, layer_cut = 3 },
  refuse = function(p)
    if p.part == "forward" and p.decode_steps > 0 and p.n_sys < 1 then
      return "decode_steps needs n_sys >= 1"
    end
    return decoder.refuse(p)
  end,
  inputs = function(p)
    if p.part == "calibrate" then return { embeds = "b n c=dim" } end
    return decoder.inputs { head_mask = "int l=n_layers (g=n_kv_heads r=n_heads//n_kv_heads)" }(p)
  end,
  build = function(g, p, t) return (p.part == "forward" and forward or calibrate)(g, p, t) end,
}
