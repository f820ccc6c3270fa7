-- Attention within windows of a Swin transformer: 49 tokens, 8 heads of 32; sizes are known while compiling.
return {
  name = "windows", doc = "attention of 49 tokens within each of W windows",
  dims = { W = 64 },
  inputs = { q = "w=W h=8 i=49 d=32", k = "w=W h=8 j=49 d=32", v = "w=W h=8 j=49 d=32" },
  build = function(g, p, t)
    local score = t.q:dot(t.k, "d") * (1 / math.sqrt(32))
    g:output("o", g:attend { keys = "j", score = score, value = t.v }.out, "w h i d")
  end,
}
