-- SPDX-License-Identifier: Apache-2.0
-- Attention of which more is asked than its values: weights, all or some or summed; edits behind the softmax.
local what = { "out", "after", "parts", "maps", "keys", "rows" }

return {
  name = "statistics", doc = "causal attention and what is made of its weights",
  params = {
    heads = { "int", 8, "heads", min = 1 },
    what = { "enum", what, "keys", "what is asked: weights (maps), by key, of 32 rows; an edit; parts" },
  },
  dims = { B = 1, N = 2048, D = 64 },
  inputs = { q = "b=B h=heads n=N d=D", k = "b=B h=heads m=N d=D", v = "b=B h=heads m=N d=D" },
  build = function(g, p, t)
    local scale, m, n = g:number(t.q:size "d") ^ -0.5, t.k:index "m", t.q:index "n"
    local part = { keys = "m", score = t.q:dot(t.k, "d") * scale, value = t.v, where = m:le(n) }
    if p.what == "after" then part.after = lap.where(m:lt(16), 0.5, 1) end
    local parts = { part }
    if p.what == "parts" then
      local k, v = t.k:as "m -> j", t.v:as "m -> j"
      k, v = k:slice("j", 0, 256), v:slice("j", 0, 256)
      parts[2] = { keys = "j", score = t.q:dot(k, "d") * scale, value = v }
    end
    local o = g:attend { parts = parts }
    g:output("o", o.out, "b h n d")
    if p.what == "maps" then g:output("weights", o.weights, "b h n m") end
    if p.what == "keys" then g:output("by_key", o.weights:sum "n", "b h m") end
    if p.what == "rows" then g:output("last", o.weights:slice("n", t.q:size "n" - 32, 32), "b h n m") end
  end,
}
