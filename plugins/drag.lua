-- SPDX-License-Identifier: Apache-2.0
-- Channels are grouped into region maps; attention between the regions gives the adjacency of a
-- small graph network. The correlation is transposed before its last layer, as in the authors' code.
local lap, nn = require "lap", require "lib.nn"

-- Soft assignment w [b i c] of channels to regions, and the region maps [b i y x].
local function grouping(p, x)
  local n, C = p.regions, p.channels
  local f = nn.linear(x:mean "y x", "cgl.fc1", "c -> f", { f = C * n // 2 }):sigmoid()
  local w = nn.linear(f, "cgl.fc2", "f -> (i c)", { i = n, c = C }):sigmoid()
  return w, w:dot(x, "c") / C
end

local function correlation(g, p, m)
  local s = { e = p.qk_dim, v = p.regions, j = p.regions }
  local q, k = nn.linear(m, "fc1", "(y x) -> e", s), nn.linear(m, "fc2", "(y x) -> e", s)
  local v = nn.linear(m, "fc3", "(y x) -> v", s)
  q, k, v = q:queries("i -> j", k, v)
  local o = g:attend { keys = "j", score = q:dot(k, "e") * p.qk_dim ^ -0.5, value = v }.out
  return nn.linear(o, "mha.output_linear", "i -> j", s):as "v -> i"
end

-- A dense graph convolution; the self loops are set to 1, the degrees are at least 1.
local function adjacency(corr)
  local A = lap.where(corr:index "i":eq(corr:index "j"), 1.0, corr)
  local r = A:sum "j":atleast(1.0) ^ -0.5
  return r * A * r:as "i -> j"
end
local function convolve(p, A, h, name)
  local s = { y = p.height, x = p.width }
  local z = nn.linear(h, name .. ".lin", "(y x) -> (y x)", s, { bias = false })
  return nn.relu(A:dot(z:as "i -> j", "j") + h.g:weight(name .. ".bias", "(y x)", s))
end

-- A map is concentrated at its peak, and apart from the other maps.
local function losses(g, p, m)
  local peak = m:merge "y x -> p":argmax "p"
  local dy, dx = peak // p.width - m:index "y", peak % p.width - m:index "x"
  local other = m:as "i -> j"
  local others = lap.where(m:index "i":ne(other:index "j"), other, -math.huge):max "j"
  local apart, all = others - m:mean "b i y x", "b i y x"
  g:output("dis_loss", (m * m * (dy * dy + dx * dx)):mean(all), "1")
  g:output("div_loss", (m * m * apart * apart):mean(all), "1")
end

return {
  name = "drag", family = "graph",
  paper = "DRAG: Dynamic Region-Aware GCN for Privacy-Leaking Image Detection",
  doc = "region maps from groups of channels, attention between them as a graph",
  reference = "guang-yanng/DRAG, networks/ (no licence), run, not copied",
  params = {
    channels = { "int", 2048, "channels of the map", min = 1 },
    height = { "int", 14, "rows of the map", min = 1 },
    width = { "int", 14, "columns of the map", min = 1 },
    regions = { "int", 4, "region maps", min = 2 },
    qk_dim = { "int", 64, "width of queries and keys", min = 1 },
  },
  dims = { B = 1 },
  inputs = { x = "b=B c=channels y=height x=width",
    drop1 = "? b=B i=regions (y=height x=width)", drop2 = "? b=B i=regions (y=height x=width)" },
  build = function(g, p, t)
    local x = t.x
    local w, m = grouping(p, x)
    local corr = correlation(g, p, m)
    local A = adjacency(corr)
    local h = convolve(p, A, m, "conv1")
    local nodes = convolve(p, A, t.drop1 and h * t.drop1 or h, "conv2")
    h = t.drop2 and nodes * t.drop2 or nodes
    local z = lap.cat("z", { x:mean "c y x":unit "z", h:mean "y x":as "i -> z" })
    g:output("grouping", w, "b i c")
    g:output("regions", m, "b i y x")
    g:output("corr", corr, "b i j")
    g:output("nodes", nodes, "b i (y x)")
    g:output("logits", nn.linear(z, "fc_cls", "z -> o", { o = 2 }), "b o")
    losses(g, p, m)
  end,
}
