-- y = x w.
return {
  name = "linear", doc = "one linear layer", params = { out = { "int", 4, "outputs", min = 1 } },
  inputs = { x = "b=B i=N" },
  build = function(g, p, t)
    g:output("y", t.x:dot(g:weight("weight", "o i", { o = p.out, i = t.x:size("i") }), "i"), "b o")
  end,
}
