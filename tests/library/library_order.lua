-- SPDX-License-Identifier: Apache-2.0
-- Order along an axis: few of many, all, equal keys, keys that are no numbers; places read without a check.
return {
  name = "library_order", params = { k = { "int", 50, min = 1 }, many = { "int", 300, min = 1 } },
  dims = { B = 2, N = 400 }, inputs = { x = "b n", y = "n e" },
  build = function(g, p, t)
    local few, least = t.x:topk("n -> k", p.k), t.x:topk("n -> k", p.k, { smallest = true })
    g:output("index", few.index, "b k")
    g:output("values", few.values, "b k")
    g:output("least", least.index, "b k")
    g:output("many", t.x:topk("n -> k", p.many).index, "b k")
    g:output("placed", t.x:topk("n -> k", p.k, { order = "position" }).index, "b k")
    g:output("first", t.x:argmax "n", "b")
    g:output("mask", t.x:top("n", p.k), "b n")
    g:output("read", t.y:at("n", few.index), "b k e")
    local kept = t.x:gt(0.5):keep "n -> m"
    g:output("kept", t.y:at("n", kept.index):sum "m", "b e")
  end,
}
