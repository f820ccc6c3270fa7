-- SPDX-License-Identifier: Apache-2.0
-- Tokens whose state is massive in a few dimensions are sinks of attention. In heads that look at
-- the image, but not mainly at its sinks, a share of the attention on all sinks moves to the other
-- visual tokens.
local lap, decoder = require "lap", require "lib.decoder"

-- Tokens that are massive in a sink dimension: x [b n c] -> mask [b m].
local function find_sinks(x, p)
  local z = x:abs() / ((x * x):mean "c" + 1e-6):sqrt()
  local top
  for _, d in ipairs(p.sink_dims) do
    local there = z:at("c", d)
    top = top and top:atleast(there) or there
  end
  return top:gt(p.tau):as "n -> m"
end

-- The factor of each weight a [.. m], and where it is not 1: a row has three factors, one for
-- sinks, one for the other visual tokens, 1 for the rest. It is edited where `allowed`.
local function redistribute(a, is_sink, is_visual, allowed, p)
  local function mass(keys) return lap.where(keys, a, 0):sum "m" end
  local total = mass(is_visual)
  local share = mass(is_sink & is_visual) / (total + 1e-6 * p.n_visual)
  local selected = share:le(p.rho) & total:ge(p.summ) & (is_sink & is_visual):any "m" & allowed
  local freed, rest = (1 - p.p) * mass(is_sink), mass(is_visual & ~is_sink)
  local spread = 1 + freed / lap.where(selected, rest, 1)
  local factor = lap.where(is_sink, p.p, lap.where(is_visual, spread, 1))
  return lap.where(selected, factor, 1), selected
end

local function refuse(p)
  if #p.sink_dims == 0 then return "sink_dims is empty" end
  for _, d in ipairs(p.sink_dims) do
    if d >= p.dim then return ("sink_dims: %d lies outside 0..dim-1"):format(d) end
  end
  if p.rho >= 1 then return "rho must be below 1" end
  if p.probe_layer >= p.n_layers then return "probe_layer must be less than n_layers" end
  return decoder.refuse(p)
end

return {
  name = "visual_attention_sink", family = "steering",
  paper = "See What You Are Told: Visual Attention Sink in Large Multimodal Models",
  doc = "a decoder that moves attention from sinks to the other visual tokens",
  reference = "seilk/VisAttnSink, src/logic/logic.py, src/stash.py (Apache-2.0)",
  params = decoder.params {
    n_kv_heads = decoder.n_kv_heads,
    n_sys = decoder.n_sys(4),
    n_visual = decoder.n_visual(16),
    sink_dims = { "list of int", { 3, 10 }, "channels in which sinks are massive", min = 0 },
    tau = { "float", 2.6, "how massive" },
    rho = { "float", 0.5, "largest share of visual sinks in the mass on the image, below 1" },
    summ = { "float", 0.2, "least mass on the image" },
    p = { "float", 0.6, "share of its attention that a sink keeps", min = 0, max = 1 },
    first_layer = { "int", 2, "sinks are looked for from this layer on", min = 0 },
    skip_last_layer = { "bool", false, "the last layer is not edited" },
    probe_layer = { "int", 3, "layer whose attention is an output", min = 0 },
    decode_steps = decoder.decode_steps,
  },
  dims = { B = 1, N = "n_sys + n_visual + 64" },
  bench = decoder.bench { n_kv_heads = 16, n_sys = 35, n_visual = 576 },
  refuse = refuse,
  inputs = decoder.inputs(),
  build = function(g, p, t)
    local x, N, cache, sinks = t.embeds, t.embeds:size "n", {}, {}
    decoder.room(g, p, N, p.n_visual, 0)
    local is_visual = decoder.span(p.n_sys, p.n_visual)(g:index("m", N))
    -- layer i with weights a' = a * factor, which needs statistics of a first pass over the scores
    local function attend(i, parts, allowed)
      if p.skip_last_layer and i == p.n_layers - 1 then allowed = false end
      local a = g:attend { parts = parts }.weights
      local factor, selected = redistribute(a, sinks[i + 1], is_visual, allowed, p)
      parts[1].after = factor
      return g:attend { parts = parts }, selected
    end
    local picks, late_picks = {}, {}
    for i = 0, p.n_layers - 1 do
      sinks[i + 1] = find_sinks(x, p) & (i >= p.first_layer)
      x = decoder.layer(g, p, i, x, x:index "n", cache, { attend = function(parts)
        local a
        a, picks[i + 1] = attend(i, parts, x:index "n":ge(p.n_sys + p.n_visual))
        if i == p.probe_layer then g:output("attn_probe", a.weights, "b (g r) n m") end
        return a.out
      end })
    end
    decoder.finish(g, p, x)
    g:output("sink_mask", lap.stack("l", sinks), "b l m")
    g:output("selected", lap.stack("l", picks), "b l (g r) n")

    decoder.decode(g, p, t.decode_embeds, function(i, y, s)
      return decoder.layer(g, p, i, y, g:number(N + s), cache, { attend = function(parts)
        local a, selected = attend(i, parts, true)
        late_picks[s + 1] = late_picks[s + 1] or {}
        late_picks[s + 1][i + 1] = selected
        return a.out
      end })
    end)
    if p.decode_steps == 0 then return end
    for s, layers in ipairs(late_picks) do late_picks[s] = lap.stack("l", layers) end
    g:output("decode_selected", lap.cat("n", late_picks), "b l (g r) n")
  end,
}
