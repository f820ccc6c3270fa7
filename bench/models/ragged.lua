-- SPDX-License-Identifier: Apache-2.0
-- Sequences of unequal length, a quarter of the room they have: the time follows the tokens that are there.
return {
  name = "ragged", doc = "attention of sequences of unequal length",
  params = {
    heads = { "int", 4, min = 1 },
    by = { "enum", { "count", "mask" }, "count", "whether lengths end the axes or are compared with places" },
  },
  dims = { B = 4, N = 2048 },
  inputs = { q = "b=B h=heads i=N d=64", k = "b=B h=heads j=N d=64", v = "b=B h=heads j=N d=64",
    length = "i32 b=B" },
  made = { length = "N // 4 + b" },
  build = function(g, p, t)
    local q, k, v, where = t.q, t.k, t.v, nil
    if p.by == "count" then
      q, k, v = q:ragged("i", t.length), k:ragged("j", t.length), v:ragged("j", t.length)
    else
      where = k:index "j":lt(t.length)
    end
    local score = q:dot(k, "d") * 0.125
    g:output("o", g:attend { keys = "j", score = score, where = where, value = v }.out, "b h i d")
  end,
}
