-- SPDX-License-Identifier: Apache-2.0
-- Attention whose live blocks a mask tensor gives: about `live` of 100 blocks.
local pattern = require "lib.pattern"
return {
  name = "masked_blocks", doc = "attention under a mask of blocks",
  params = {
    heads = { "int", 4, min = 1 }, block = { "int", 64, min = 1 }, live = { "int", 10, min = 1, max = 100 },
  },
  dims = { B = 1, N = 4096, P = 64 },
  inputs = { q = "b=B h=heads i=N d=64", k = "b=B h=heads j=N d=64", v = "b=B h=heads j=N d=64",
    mask = "bool b=B h=heads p=P m=P" },
  made = { mask = "1 - min(1, (p*27 + m*11 + h*5) % 100 // live)" },
  build = function(g, p, t)
    local seen = pattern.block_mask(t.mask, "p", "m", t.q:index "i", t.k:index "j", p.block)
    local score = t.q:dot(t.k, "d") * 0.125
    g:output("o", g:attend { keys = "j", score = score, where = seen, value = t.v }.out, "b h i d")
  end,
}
