-- SPDX-License-Identifier: Apache-2.0
-- The vision encoder's [CLS] attention picks local and summary tokens; in some layers the last
-- query's scores to them rise by a share of their size.
local lap, decoder = require "lap", require "lib.decoder"

local function percentile(sorted, share)           -- linear between values that rise along k
  local at = share * (sorted:size "k" - 1)
  local low = math.floor(at)
  local a, b = sorted:at("k", low), sorted:at("k", math.min(low + 1, sorted:size "k" - 1))
  return a + (at - low) * (b - a)
end
-- trunc(V * (n/V)) in double precision, which can come out as n - 1: a table over all n.
local function share_of(g, V, n)
  local list = {}
  for i = 0, V do list[i + 1] = math.floor(V * (i / V)) end
  return g:list("i", list):at("i", n)
end

-- Masks [b v] of local and summary tokens, from encoder attention [b h v] in the first and in a late layer.
local function streams(g, p, first, late)
  local a, b, V = first:sum "h", late:sum "h", p.n_visual
  local sorted = b:sort("v -> k", { smallest = true }).values
  local Q1, Q3 = percentile(sorted, 0.25), percentile(sorted, 0.75)
  local n_out = b:gt(Q3 + 1.5 * (Q3 - Q1)):sum "v"
  local summary = b:top("v", share_of(g, V, n_out))
  return a:top("v", math.floor(V * p.local_ratio)) & ~summary, summary
end

return {
  name = "imbalanced_attention", family = "steering",
  paper = "Fixing Imbalanced Attention to Mitigate In-Context Hallucination of Large Vision-Language Model",
  doc = "a decoder whose last query looks harder at local and summary tokens",
  reference = "hasanar1f/PAINT, modPAI/attention.py, clip_encoder.py (Apache-2.0); per head: equations",
  params = decoder.params {
    n_layers = { "int", 4, "layers", min = 1, max = 128 },
    n_sys = decoder.n_sys(4),
    n_visual = { "int", 24, "visual tokens", min = 2 },
    local_ratio = { "float", 0.25, "share of local tokens", min = 0, max = 1 },
    alpha = { "float", 0.5, "boost of local tokens" },
    beta = { "float", 0.2, "boost of summary tokens" },
    start_layer = { "int", 1, "first boosted layer", min = 0 },
    end_layer = { "int", 4, "one past the last boosted layer", min = 0 },
    head_mode = { "enum", { "none", "sensitivity" }, "none",
      "heads alike, or by the mass that they give the image" },
    decode_steps = decoder.decode_steps,
  },
  dims = { B = 1, N = "n_sys + n_visual + 64", H = 16 },
  bench = decoder.bench { n_sys = 35, n_visual = 576 },
  refuse = function(p)
    if p.start_layer > p.end_layer then return "start_layer must not exceed end_layer" end
    if p.end_layer > p.n_layers then return "end_layer must not exceed n_layers" end
    return decoder.refuse(p)
  end,
  inputs = decoder.inputs { cls_first = "b h v=n_visual", cls_late = "b h v=n_visual" },
  build = function(g, p, t)
    local x, N, cache, last = t.embeds, t.embeds:size "n", {}, {}
    decoder.room(g, p, N, p.n_visual, 1)
    local is_local, is_summary = streams(g, p, t.cls_first, t.cls_late)
    local m = g:index("m", N)
    local is_visual = decoder.span(p.n_sys, p.n_visual)(m)
    local boost = (p.alpha * is_local:int() + p.beta * is_summary:int()):at("v", m - p.n_sys, 0)

    local function attend(i, parts, is_edited)     -- s' = s + gain * boost * |s|
      if p.start_layer <= i and i < p.end_layer then
        local s, gain = parts[1].score, 1
        if p.head_mode == "sensitivity" then
          local mass = lap.where(is_visual, g:attend { parts = parts }.weights, 0):sum "m"
          gain = mass / mass:mean "g r"
        end
        parts[1].score = lap.where(is_edited, s + gain * boost * s:abs(), s)
      end
      return g:attend { parts = parts }
    end
    for i = 0, p.n_layers - 1 do
      x = decoder.layer(g, p, i, x, x:index "n", cache, { attend = function(parts)
        local a = attend(i, parts, x:index "n":eq(N - 1))
        last[i + 1] = a.weights:at("n", N - 1)
        return a.out
      end })
    end
    decoder.finish(g, p, x)
    g:output("attn_last", lap.stack("l", last), "b l (g r) m")
    g:output("local_mask", is_local, "b v")
    g:output("summary_mask", is_summary, "b v")
    decoder.decode(g, p, t.decode_embeds, function(i, y, s)
      return decoder.layer(g, p, i, y, g:number(N + s), cache, {
        attend = function(parts) return attend(i, parts, true).out end })
    end)
  end,
}
