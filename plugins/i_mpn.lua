-- SPDX-License-Identifier: Apache-2.0
-- Detected boxes pass messages to the boxes of their frame along edges of relative geometry; the
-- lists of neighbours are made from the data, each box has its own number of them.
local lap, nn = require "lap", require "lib.nn"

-- Geometry of the sender's box (centre c, size s) as the receiver (C, S) sees it: 4 numbers on axis z.
local function relation(C, S, c, s) return lap.cat("z", { (c - C) / S, (s / S):log() }) end

-- Whether u is a neighbour of n: another box of the frame, or one of the k nearest of them.
local function neighbours(g, p, t, C)
  local N = t.features:size "n"
  local function to(y) return y:as "n -> u" end
  local near = t.frame_id:eq(to(t.frame_id)) & g:index("n", N):ne(g:index("u", N))
  if p.k_nearest == 0 then return near end
  local gap = C - to(C)
  local far = lap.where(near, (gap * gap):sum "z", math.huge)
  return near & far:top("u", lap.dim.min(p.k_nearest, N), { smallest = true })
end

-- The layers of [h; edge] are split at the seam: what h gives is computed per node, then gathered.
local function layer(g, p, h, edge, near, pre)
  local D, relu = p.hidden, nn.relu
  local function sent(y) return y:at("n", near.index) end
  local Wh, We = g:weight(pre .. "message.weight", "o c", { o = D, c = D + 4 }):cut("c", D, 4)
  local bias, a = g:weight(pre .. "message.bias", "o", { o = D }), nil
  local m = relu(sent(h:dot(Wh, "c")) + edge:dot(We, "c") + bias):as "o -> c"
  if p.aggregator == "attention" then
    local w = g:weight(pre .. "att.weight", "1 c", { c = 2 * D + 4 })
    local to, from, rel = w:cut("c", D, D, 4)
    local score = h:dot(to, "c") + sent(h:dot(from, "c")) + edge:dot(rel, "c")
    a = g:attend { keys = "j", score = nn.leaky_relu(score, 0.2), value = m }.out
  elseif p.aggregator == "max" then
    a = lap.where(near.count:gt(0), m:max "j", 0.0)
  else
    a = m:sum "j" / near.count:atleast(1)
  end
  local u = nn.linear(lap.cat("c", { h, a }), pre .. "update", "c -> c", { c = D })
  return nn.unit(relu(u), "c")
end

return {
  name = "i_mpn", family = "graph",
  paper = "I-MPN: Inductive Message Passing Network for Efficient Human-in-the-Loop Annotation of "
    .. "Mobile Eye Tracking Data",
  doc = "message passing among the boxes of a frame, with relative geometry on the edges",
  reference = "equations of the paper",
  params = {
    in_dim = { "int", 1024, "features of a box", min = 1 },
    hidden = { "int", 256, "width of the nodes", min = 1 },
    num_layers = { "int", 3, "rounds of messages", min = 0, max = 64 },
    num_classes = { "int", 20, "classes", min = 1 },
    aggregator = { "enum", { "mean", "max", "attention" }, "mean", "how messages are joined" },
    k_nearest = { "int", 0, "neighbours by distance of centres, 0 = the whole frame", min = 0 },
  },
  dims = { N = 400 },                              -- frames of 20 boxes
  made = { boxes = "n*3 % 17 + z + corner*(n % 5 + 2)", frame_id = "n // 20" },
  inputs = { features = "n=N f=in_dim", boxes = "n=N (corner=2 z=2)", frame_id = "int n=N" },
  build = function(g, p, t)
    local N = t.features:size "n"
    g:require(g:number(N):gt(0), "there are no boxes")
    local low, high = t.boxes:unstack "corner"
    local C, S = (low + high) / 2, high - low
    g:require(S:gt(0):all "n z", "a box has no width or no height")
    local near = neighbours(g, p, t, C)
    -- the edges as a list, by receiver, then sender
    local pair = near:merge "n u -> e":keep "e -> k"
    local v, u, crop = pair.index // N, pair.index % N, { crop = { k = pair.count } }
    g:output("edges", lap.stack("end", { v, u }), "k end", crop)
    local attr = relation(C:at("n", v), S:at("n", v), C:at("n", u), S:at("n", u))
    g:output("edge_attr", attr, "k z", crop)
    -- and per receiver, for the messages
    local list = near:keep "u -> j"
    local edge = relation(C, S, C:at("n", list.index), S:at("n", list.index)):as "z -> c"
    local node = lap.cat("c", { t.features:as "f -> c", C:as "z -> c", S:as "z -> c" })
    local h = nn.relu(nn.linear(node, "node_in", "c -> c", { c = p.hidden }))
    for i = 0, p.num_layers - 1 do h = layer(g, p, h, edge, list, ("layers.%d."):format(i)) end
    g:output("h", h, "n c")
    g:output("logits", nn.linear(h, "classifier", "c -> o", { o = p.num_classes }), "n o")
  end,
}
