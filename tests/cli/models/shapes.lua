-- Adds axes that cannot be equal.
return {
  name = "shapes", params = {}, inputs = { x = "b=B i=3", y = "b=B i=4" },
  build = function(g, p, t) g:output("z", t.x + t.y, "b i") end,
}
