-- SPDX-License-Identifier: Apache-2.0
-- Heads whose output for the last token depends most on the image are reinforced. Two branches run
-- layer by layer, one with and one without the image; the heads chosen in the prompt stay chosen.
local lap, decoder = require "lap", require "lib.decoder"

local function norm2(x) return (x * x):sum "d" end
local function surges(x)                           -- above mean + standard deviation over the heads
  local mean = x:mean "h"
  local away = x - mean
  return x:gt(mean + ((away * away):sum "h" / (x:size "h" - 1)):sqrt())
end
-- From the divergence D and the size TA of the blind heads [b h]: heads dropped as surges, heads
-- above the median.
local function choose(D, TA)
  local dropped = surges(D) & surges(TA)
  local rest = lap.where(dropped, 0, D)
  local rising = rest:sort("h -> k", { smallest = true }).values
  return dropped, rest:gt(rising:at("k", (D:size "h" - 1) // 2))
end

return {
  name = "vhr", family = "steering", doc = "a decoder that reinforces the heads that depend on the image",
  paper = "Cracking the Code of Hallucination in LVLMs with Vision-aware Head Divergence",
  reference = "equations 4 to 7 and algorithm 1, confirmed by a second implementation",
  params = decoder.params {
    dim = { "int", 24, "channels", min = 1 },
    n_heads = { "int", 6, "heads", min = 2 },
    n_kv_heads = { "int", 6, "key heads", min = 1 },
    ffn_dim = { "int", 32, "hidden width", min = 1 },
    n_layers = { "int", 4, "layers", min = 1, max = 128 },
    n_sys = decoder.n_sys(3),
    n_visual = decoder.n_visual(12),
    layers = { "list of int", { 1, 2, 3 }, "reinforced layers, from 0", min = 0 },
    alpha = { "float", 2.0, "factor of reinforced heads, above 1" },
    t_vhd_k = { "int", 3, "heads of a layer that count in t_vhd", min = 1 },
    reinforce_text_branch = { "bool", true, "the branch without the image is scaled too" },
    decode_steps = decoder.decode_steps,
  },
  dims = { B = 1, N = "n_sys + n_visual + 64" },
  bench = decoder.bench { n_kv_heads = 16, n_sys = 35, n_visual = 576 },
  refuse = function(p)
    local seen = {}
    for _, i in ipairs(p.layers) do
      if i >= p.n_layers then return ("layers: %d is no layer, n_layers is %d"):format(i, p.n_layers) end
      if seen[i] then return ("layers: %d occurs twice"):format(i) end
      seen[i] = true
    end
    if p.t_vhd_k > p.n_heads then return "t_vhd_k must not exceed n_heads" end
    if p.alpha <= 1 then return "alpha must exceed 1" end
    return decoder.refuse(p)
  end,
  inputs = decoder.inputs(),
  build = function(g, p, t)
    local N, V, is_reinforced = t.embeds:size "n", p.n_visual, {}
    decoder.room(g, p, N, V, 1)
    for _, i in ipairs(p.layers) do is_reinforced[i] = true end
    local n = g:index("n", N - V)
    local see, blind = t.embeds, t.embeds:at("n", lap.where(n:lt(p.n_sys), n, n + V))
    local cache, none = { see = {}, blind = {} }, g:full(false, "b h", see, { h = p.n_heads })
    local vhd, outlier, selected, gain, t_vhd = {}, {}, {}, {}, 0

    for i = 0, p.n_layers - 1 do
      local A = g:attend { parts = decoder.parts(p, i, see, see:index "n", cache.see) }.out
      local T = g:attend { parts = decoder.parts(p, i, blind, blind:index "n", cache.blind) }.out
      local function last(a) return a:at("n", a:size "n" - 1):merge "g r -> h" end
      local D, dropped, picked = norm2(last(A) - last(T)):sqrt(), none, none
      if is_reinforced[i] then dropped, picked = choose(D, norm2(last(T))) end
      vhd[i + 1], outlier[i + 1], selected[i + 1] = D, dropped, picked
      t_vhd = t_vhd + D:topk("h -> k", p.t_vhd_k).values:sum "k"
      gain[i] = lap.where(picked, p.alpha, 1):split("h -> g r", { g = p.n_kv_heads })
      see = decoder.rest(p, i, see, A * gain[i])
      blind = decoder.rest(p, i, blind, p.reinforce_text_branch and T * gain[i] or T)
    end
    decoder.finish(g, p, see)
    g:output("vhd", lap.stack("l", vhd), "b l h")
    g:output("outlier", lap.stack("l", outlier), "b l h")
    g:output("selected", lap.stack("l", selected), "b l h")
    g:output("t_vhd", t_vhd, "b")
    decoder.decode(g, p, t.decode_embeds, function(i, y, s)
      return decoder.layer(g, p, i, y, g:number(N + s), cache.see, {
        attend = function(parts) return g:attend { parts = parts }.out * gain[i] end })
    end)
  end,
}
