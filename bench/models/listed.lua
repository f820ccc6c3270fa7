-- SPDX-License-Identifier: Apache-2.0
-- Each query attends to keys whose numbers are given: top-k attention without its choice.
return {
  name = "listed", doc = "attention over lists of keys",
  params = { heads = { "int", 4, min = 1 }, keys = { "int", 64, min = 1 } },
  dims = { B = 1, N = 4096, M = 4096, D = 64 },
  inputs = { q = "b=B h=heads n=N d=D", k = "b=B h=heads m=M d=D", v = "b=B h=heads m=M d=D",
    list = "i32 b=B h=heads n=N r=keys" },
  made = { list = "(n*2731 + r*1597) % M" },
  build = function(g, _, t)
    local score = t.q:dot(t.k:at("m", t.list), "d") * g:number(t.q:size "d") ^ -0.5
    local o = g:attend { keys = "r", score = score, value = t.v:at("m", t.list) }
    g:output("o", o.out, "b h n d")
  end,
}
