-- SPDX-License-Identifier: Apache-2.0
-- Neighbourhood attention on a grid of one to three axes, heads before tokens.
local lap, pattern = require "lap", require "lib.pattern"
local axes = { "x", "y x", "z y x" }
return {
  name = "neighbourhood", doc = "attention over windows of a grid",
  params = { heads = { "int", 4, min = 1 }, size = { "list of int", { 7, 7 }, min = 1 },
    dilation = { "int", 1, min = 1 } },
  dims = { B = 1, Z = 16, Y = 64, X = 64, D = 32 },
  inputs = function(p)
    local grid = axes[#p.size]:gsub("%l", function(a) return a .. "=" .. a:upper() end)
    local one = "b=B h=heads " .. grid .. " d=D"
    return { q = one, k = one, v = one }
  end,
  build = function(g, p, t)
    local grid = axes[#p.size]
    local near = pattern.neighbours(t.q, grid, { size = p.size, dilation = p.dilation })
    local score = t.q:dot(t.k:at(near.place, 0), "d") * g:number(t.q:size "d") ^ -0.5
    local o = g:attend { keys = near.keys, score = score, value = t.v:at(near.place, 0) }
    g:output("o", o.out, "b h " .. grid .. " d")
  end,
}
