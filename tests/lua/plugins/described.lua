return {
  paper = "A Paper", family = "windows", doc = "a model whose schema is read",
  params = { act = { "enum", { "gelu", "relu" }, "relu", "activation" },
    hidden = { "int", function(p) return 2 * p.size end },
    list = { "list of float", { 1, 2.5 } }, size = { "int", min = 1 } },
  inputs = { x = "b n=size", mask = "? int b" },
  build = function(g, p, t) g:output("y", t.x * p.hidden, "b n") end,
}
