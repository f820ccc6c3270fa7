-- SPDX-License-Identifier: Apache-2.0
-- Examples chosen by maximal marginal relevance (relevant to the query, unlike those chosen before) go
-- into a prompt that a causal language model continues greedily.
local lap, nn = require "lap", require "lib.nn"

-- k choices, each the best of lambda rel - (1 - lambda) max over chosen sim; the first is the most
-- relevant, whatever lambda is. Indices and scores [q k].
local function mmr(g, p, query, pool)
  local N, lambda = pool:size "n", p.mmr_lambda
  local top = query:dot(pool, "d"):topk("n -> m", p.fetch_k > 0 and lap.dim.min(p.fetch_k, N) or N)
  local rel, cand = top.values, pool:at("n", top.index)
  local m = rel:index "m"
  local pick = g:scan {
    along = "k", inputs = { step = g:index("k", p.num_examples) },
    state = { red = rel * 0.0, free = rel:eq(rel) },              -- red: similarity to the chosen
    body = function(s, i)
      local score = lap.where(s.free, lambda * rel - (1 - lambda) * s.red, -math.huge)
      local best = score:argmax "m"
      local sim = cand:dot(cand:at("m", best), "d")
      return { red = lap.where(i.step:eq(0), sim, s.red:atleast(sim)), free = s.free & m:ne(best) },
        { best = best, score = score:at("m", best) }
    end,
  }
  return top.index:at("m", pick.best), pick.score
end

-- Pre-norm layer; attend(q, k, v) says what is seen.
local function layer(p, x, pre, attend)
  local g, C = x.g, x:size "c"
  local s = { s = 3, h = p.heads, d = C / p.heads, c = C }
  local function norm(a, name) return nn.layernorm(a, pre .. name, "c", p.ln_eps) end
  local q, k, v = nn.linear(norm(x, "norm1"), pre .. "qkv", "c -> (s h d)", s):unstack "s"
  local o = attend(q * g:number(s.d) ^ -0.5, k, v)
  x = x + nn.linear(o, pre .. "proj", "(h d) -> c", s)
  return x + nn.mlp(norm(x, "norm2"), pre .. "fc1", pre .. "fc2", 2 * C)
end

-- The model: weights, and the keys of the prompt by layer.
local function embed(lm, ids, place) return lm.tokens:at("v", ids) + lm.positions:at("l", place) end
local function logits(p, lm, x) return nn.layernorm(x, "norm", "c", p.ln_eps):dot(lm.tokens, "c") end
local function prefill(g, p, lm, ids)
  local x = embed(lm, ids, ids:index "l")
  for i = 0, p.layers - 1 do
    x = layer(p, x, ("layers.%d."):format(i), function(q, k, v)
      k, v = k:as "l -> j", v:as "l -> j"
      lm[i] = { k = k, v = v }
      return g:attend { keys = "j", score = q:dot(k, "d"), value = v,
        where = k:index "j":le(q:index "l") }.out
    end)
  end
  return logits(p, lm, x:at("l", ids:size "l" - 1))
end
-- The tokens after the first, one cached step each: slot r holds the keys of token r.
local function continue(g, p, lm, first, L)
  local slot, state = g:index("r", p.horizon - 1), { id = first }
  for i = 0, p.layers - 1 do
    local zero = lm[i].k:at("j", 0) * 0.0 + slot * 0.0
    state["k" .. i], state["v" .. i] = zero, zero
  end
  return g:scan {
    along = "z", state = state, steps = p.horizon - 1,
    body = function(s, _, z)
      local y, new = embed(lm, s.id, L + z), {}
      for i = 0, p.layers - 1 do
        y = layer(p, y, ("layers.%d."):format(i), function(q, k, v)
          k, v = s["k" .. i]:append("r", z, k), s["v" .. i]:append("r", z, v)
          new["k" .. i], new["v" .. i] = k, v
          return g:attend { parts = {
            { keys = "j", score = q:dot(lm[i].k, "d"), value = lm[i].v },
            { keys = "r", score = q:dot(k, "d"), value = v, where = slot:le(z) } } }.out
        end)
      end
      new.id = logits(p, lm, y):argmax "v"
      return new, { id = new.id }
    end,
  }.id
end

-- Insert, delete, substitute, swap of two neighbours: row i of the table from rows i-1 and i-2. The
-- walk along j is a running minimum: d[j] = min over k <= j of (r[k] - k) + j.
local function edit_distance(g, a, b)
  local Z = a:size "z"
  local j, k = g:index("j", Z + 1), g:index("k", Z + 1)
  local b1, b2 = b:as "z -> j":pad("j", 1, 0, -1), b:as "z -> j":pad("j", 2, -1, -1)
  local start = g:full(0, "q", a) + j
  local d = g:scan {
    along = "z", state = { above = start, above2 = start },
    inputs = { a = a, before = a:pad("z", 1, -1, -2), i = a:index "z" + 1 },
    body = function(s, t)
      local function left(row, n) return row:at({ j = j - n }, 0) end
      local r = (s.above + 1):atmost(left(s.above, 1) + b1:ne(t.a):int())
      local swap = t.i:gt(1) & j:gt(1) & b2:eq(t.a) & b1:eq(t.before)
      r = lap.where(j:eq(0), t.i, lap.where(swap, r:atmost(left(s.above2, 2) + 1), r))
      local row = lap.where(k:le(j), r:as "j -> k" - k, Z + Z + 1):min "k" + j
      return { above = row, above2 = s.above }
    end,
  }.last_above
  return d:at("j", Z) / Z
end

return {
  name = "lalm", family = "retrieval",
  paper = "PALM: Predicting Actions through Language Models",
  doc = "examples by maximal marginal relevance, a prompt, greedy decoding, edit distance",
  reference = "equations; choices checked against langchain 0.0.157",
  params = {
    num_examples = { "int", 4, "examples in the prompt", min = 1 },
    mmr_lambda = { "float", 0.5, "1: relevance only, 0: diversity only", min = 0, max = 1 },
    fetch_k = { "int", 0, "only so many most relevant examples are candidates, 0 = all", min = 0 },
    best_last = { "bool", true, "the best example stands next to the query" },
    layers = { "int", 2, "layers of the language model", min = 0, max = 64 },
    heads = { "int", 2, "its heads", min = 1 },
    horizon = { "int", 5, "actions to predict", min = 1 },
    ln_eps = { "float", 1e-5, "of the layer norms", min = 0 },
  },
  dims = { Q = 1, N = 1024, D = 768, LI = 32, E = 64, LQ = 64, V = 8192, C = 512, P = 1024 },
  bench = { fetch_k = 20, heads = 8, horizon = 20 },
  refuse = function(p)
    if p.fetch_k > 0 and p.fetch_k < p.num_examples then
      return "fetch_k must be 0 or at least num_examples"
    end
  end,
  inputs = { query_embeddings = "q=Q d=D", example_embeddings = "n=N d=D", query_ids = "int q=Q l=LQ",
    instruction_ids = "int l=LI", example_ids = "int n=N e=E", future_ids = "int q=Q z=horizon" },
  build = function(g, p, t)
    local size = { v = lap.dim.symbol "V", c = lap.dim.symbol "C", l = lap.dim.symbol "P" }
    local lm = { tokens = g:weight("tokens", "v c", size), positions = g:weight("positions", "l c", size) }
    g:require(g:number(size.c % p.heads):eq(0), "heads must divide the width of the tokens")
    g:require(g:number(t.example_ids:size "n"):ge(p.num_examples), "num_examples exceeds the pool")
    for _, name in ipairs { "instruction_ids", "example_ids", "query_ids", "future_ids" } do
      g:require((t[name]:ge(0) & t[name]:lt(size.v)):all(), name .. " outside the vocabulary")
    end
    local query, pool = nn.unit(t.query_embeddings, "d"), nn.unit(t.example_embeddings, "d")
    local chosen, score = mmr(g, p, query, pool)
    local blocks = t.example_ids:at("n", p.best_last and chosen:flip "k" or chosen):merge "k e -> l"
    local ids = lap.cat("l", { t.instruction_ids, blocks, t.query_ids })
    local L = ids:size "l"
    g:require(g:number(size.l):ge(L + p.horizon - 1), "positions are too few for prompt and horizon")
    local prompt = prefill(g, p, lm, ids)
    local first = prompt:argmax "v"
    local made = first:unit "z"
    if p.horizon > 1 then made = lap.cat("z", { made, continue(g, p, lm, first, L) }) end
    g:output("selected", chosen, "q k")
    g:output("mmr_scores", score, "q k")
    g:output("prompt_ids", ids, "q l")
    g:output("prompt_logits", prompt, "q v")
    g:output("generated", made, "q z")
    g:output("edit_distance", edit_distance(g, made, t.future_ids), "q")
  end,
}
