-- Attention and a layer after it: two kernels with schedules.
return {
  name = "mix", doc = "attention and a layer", dims = { N = 40 },
  inputs = { q = "i=N d=16", k = "j=N d=16", v = "j=N d=16" },
  build = function(g, p, t)
    local o = g:attend { keys = "j", score = t.q:dot(t.k, "d"), value = t.v }
    g:output("y", o.out:dot(g:weight("w", "d c", { c = 24 }), "d"), "i c")
  end,
}
