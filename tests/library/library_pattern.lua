-- SPDX-License-Identifier: Apache-2.0
-- Every pattern of the library as a matrix of what is seen.
local pattern = require "lib.pattern"
return {
  name = "library_pattern",
  inputs = { q = "i=N", k = "j=N", label = "int n=N", mask = "bool p=P m=P", map = "y=H x=W",
    cells = "Y=H/4 y=4 X=W/4 x=4" },
  build = function(g, p, t)
    local i, j = t.q:index "i", t.k:index "j"
    local seen = {
      causal = pattern.causal(i, j), sliding = pattern.sliding(i, j, 3),
      uneven = pattern.sliding(i, j, { before = 4, after = 1 }), window = pattern.window(i, j, 4),
      dilated = pattern.dilated(i, j, 3), strided = pattern.strided(i, j, 4),
      block = pattern.block(i, j, 5), block_band = pattern.block_band(i, j, 4, 1, 0),
      grid = pattern.grid(i, j, 6), sinks = pattern.sinks(i, j, 2),
      global = pattern.global(i, j, 3),
      documents = pattern.documents(t.label, "n", i, j),
      block_mask = pattern.block_mask(t.mask, "p", "m", i, j, 4),
    }
    local names = {}
    for name in pairs(seen) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do
      g:output(name, seen[name]:int() + 0 * (i + j), "i j")
    end
    -- lists: the place y * W + x of every neighbour, -1 where there is none
    local W = t.map:size "x"
    local function places(l, width) return l.place.y * width + l.place.x end
    local near = pattern.neighbours(t.map, "y x", { size = { 3, 4 }, dilation = { 2, 1 } })
    g:output("near", places(near, W), "y x " .. near.keys)
    local runs = pattern.neighbours(t.map, "y x",
      { size = 4, stride = 2, causal = { true, false } })
    g:output("runs", lap.where(runs.where, places(runs, W), -1), "y x " .. runs.keys)
    local halo = pattern.halo(t.cells, "y x", "Y X",
      { size = 4, halo = 2, extent = { y = t.map:size "y", x = W } })
    g:output("halo", lap.where(halo.where, places(halo, W), -1), "Y X " .. halo.keys)
  end,
}
