-- SPDX-License-Identifier: Apache-2.0
return {
  name = "topk", doc = "the greatest k of each row, in order",
  params = { k = { "int", 64, "kept", min = 1 } },
  dims = { N = 512, M = 4096 },
  inputs = { x = "n=N m=M" },
  build = function(g, p, t)
    local top = t.x:topk("m -> r", p.k)
    g:output("values", top.values, "n r")
    g:output("index", top.index, "n r")
  end,
}
