-- Queries and keys over one axis: allowed, warned of.
return { inputs = { q = "b n d", k = "b n d" }, dims = { B = 1, N = 4, D = 2 },
  build = function(g, p, t)
    g:output("o", g:attend { keys = "n", score = t.q:dot(t.k, "d"), value = t.k }.out, "b d")
  end }
