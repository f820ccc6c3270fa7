-- Two outputs of two inputs, one of them optional.
return {
  name = "two", doc = "a sum and a maximum", params = {},
  inputs = { x = "b=B i=N", y = "? b=B i=N" },
  build = function(g, p, t)
    local z = t.y and t.x + t.y or t.x
    g:output("sum", z:sum("i"), "b")
    g:output("top", z:max("i"), "b")
  end,
}
