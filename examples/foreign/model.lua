-- SPDX-License-Identifier: Apache-2.0
-- Attention whose values are weighed by running sums that a C library computes, and the counts of the
-- places that each query likes best.
return {
  name = "foreign",
  doc = "attention over running sums computed in C",
  inputs = { q = "b i d", k = "b j d", v = "b j c" },
  dims = { B = 2, I = 5, J = 7, D = 8, C = 3 },
  build = function(g, p, t)
    local score = (t.q * t.k):sum "d" * 0.35
    -- seen with the keys fastest: the sums run along j
    local sums = g:foreign("sums", { { t.v * 2, "b c j" } }, { y = "f32 b c j" }).y
    g:output("y", g:attend { keys = "j", score = score, value = sums }.out, "b i c")
    local best = g:foreign("counts", { score:argmax "j" },
      { counts = { "int j", j = t.k:size "j" }, total = "int" })
    g:output("counts", best.counts, "j")
    g:output("total", best.total, "")
  end,
}
