-- SPDX-License-Identifier: Apache-2.0
-- Each block of queries attends to blocks of keys whose numbers are given.
return {
  name = "block_sparse", doc = "attention over lists of key blocks",
  params = { heads = { "int", 4, min = 1 }, block = { "int", 64, min = 1 }, live = { "int", 6, min = 1 } },
  dims = { B = 1, P = 64, D = 64 },
  inputs = { q = "b=B h=heads p=P i=block d=D", k = "b=B h=heads m=P j=block d=D",
    v = "b=B h=heads m=P j=block d=D", list = "i32 b=B h=heads p=P r=live" },
  made = { list = "(p*27 + r*11) % P" },
  build = function(g, _, t)
    local score = t.q:dot(t.k:at("m", t.list), "d") * g:number(t.q:size "d") ^ -0.5
    local o = g:attend { keys = "r j", score = score, value = t.v:at("m", t.list) }
    g:output("o", o.out, "b h p i d")
  end,
}
