-- Reads a square of tokens; refuses what is none.
return {
  name = "grid", params = {}, inputs = { x = "b=B (y=S x=S)" },
  build = function(g, p, t) g:output("rows", t.x:sum("x"), "b y") end,
}
