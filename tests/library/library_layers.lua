-- SPDX-License-Identifier: Apache-2.0
-- Linear layers, embedding, rotary and multi-head attention of the library against torch.
local nn, window, pattern = require "lib.nn", require "lib.window", require "lib.pattern"
return {
  name = "library_layers",
  inputs = { x = "b n c", m = "b m c", ids = "int b n", q = "b n d", k = "b m d", map = "b c y x" },
  build = function(g, p, t)
    g:output("linear", nn.linear(t.x, "linear", "c -> f", { f = 5 }), "b n f")
    g:output("square", nn.linear(t.x, "square", "c -> c", nil, { bias = false }), "b n c")
    local heads = nn.linear(t.x, "packed", "c -> (s h e)", { s = 3, h = 2, e = 4 })
    g:output("packed", heads, "b n (s h e)")
    g:output("joined", nn.linear(heads, "joined", "(s h e) -> c", { c = t.x:size "c" }), "b n c")
    g:output("mlp", nn.mlp(t.x, "fc1", "fc2", 12), "b n c")
    g:output("swiglu", nn.swiglu(t.x, "", 10), "b n c")
    g:output("embedding", nn.embedding(t.ids, "words", "w e", { w = 11, e = 6 }), "b n e")
    g:output("gather", nn.gather(t.x, "n", t.ids % t.x:size "n"), "b n c")
    local a, b = nn.chunk(t.x, "c", 2)
    g:output("chunk", a - b, "b n c")
    g:output("einsum", nn.einsum("b n d, b m d -> b n m", t.q, t.k), "b n m")
    g:output("einsum_three", nn.einsum("b n d, b m d, b n c -> n m", t.q, t.k, t.x), "n m")
    local pos = t.q:index "n"
    g:output("rope", nn.rope(t.q, pos, 1e4), "b n d")
    g:output("rope_pairs", nn.rope(t.q, pos, 1e4, { pairs = "interleaved" }), "b n d")
    g:output("rope_part", nn.rope(t.q, pos, 500.0, { part = 4 }), "b n d")
    local self, w, axes = nn.mha(t.x, "self_attn.", 2)
    g:output("self", self, "b n c")
    g:output("self_weights", w.weights:mean(axes.heads), "b n " .. axes.keys)
    g:output("causal", (nn.mha(t.x, "self_attn.", 2, { where = pattern.causal })), "b n c")
    local memory = t.m:as "m -> n"
    g:output("cross", (nn.mha(t.x, "cross.", 4, { memory = memory, bias = false })), "b n c")
    local cut = window.cut(t.map, "y x", { 3, 4 }, { shift = { 1, 2 } })
    g:output("windows", cut, "(b Y X) (y x) c")
    g:output("whole", window.join(cut, "y x", t.map, { shift = { 1, 2 } }), "b c y x")
  end,
}
