-- A plain matrix product: the yardstick of contractions.
return {
  name = "matmul", doc = "c = a b",
  dims = { M = 1024, N = 1024, K = 1024 },
  inputs = { a = "m=M k=K", b = "k=K n=N" },
  build = function(g, p, t) g:output("c", t.a:dot(t.b, "k"), "m n") end,
}
