-- SPDX-License-Identifier: Apache-2.0
-- Learners with their own spatial attention and a learned mask each share one embedding space.
-- Training clusters the embeddings, gives each learner its cluster, and adds learners between steps;
-- gradients are those of the masks only.
local lap, nn = require "lap", require "lib.nn"

local function relu(x) return lap.where(x:gt(0), x, 0.0) end      -- with derivative 0 at 0
local function unit(x) return x / (x * x):sum "d":atleast(1e-24):sqrt() end     -- |x| at least 1e-12
local function distance2(a, b) local d = a - b; return (d * d):sum "d" end

-- The attention map of each learner [b k y x], and what it weighs, embedded, before the mask [b k d].
local function learners(g, p, x, K)
  local s = { k = K, a = p.att_hidden, c = x:size "c" }
  local function weight(name, layout) return g:weight("attention.{k}." .. name, layout, s) end
  local hidden = nn.relu(x:dot(weight("0.weight", "k a c 1 1"), "c") + weight("0.bias", "k a"))
  local map = hidden:dot(weight("1.weight", "k 1 a 1 1"), "a") + weight("1.bias", "k 1")
  map = map:sigmoid()
  return map, nn.linear((x * map):mean "y x", "embed", "c -> d", { d = p.dim })
end

local function infer(g, p, t)
  local K, total, q, B = p.learners, p.learners + #p.grow_at, p.queries, t.features:size "b"
  g:require(g:number(B):gt(q), "queries must leave a gallery")
  g:require(g:number(B - q):ge(p.top_k), "top_k exceeds the gallery")
  local map, z = learners(g, p, t.features, total)
  local masks = g:weight("masks", "k d", { k = total, d = p.dim }):slice("k", 0, K)
  map, z = map:slice("k", 0, K), z:slice("k", 0, K)
  local e = unit(unit(z * relu(masks)):sum "k")
  local size = { y = p.out_size[1], x = p.out_size[2] }
  local m = nn.resize(map:mean "k", "y x", size, { mode = "linear" })
  local lo, hi = m:min "y x", m:max "y x"
  m = (m - lo) / (hi - lo):atleast(1e-12)
  local gallery = e:slice("b", q, B - q):as "b -> n"
  local far = distance2(e:slice("b", 0, q), gallery):sqrt()
  g:output("embedding", e, "b d")
  g:output("learner_attention", map, "b k y x")
  g:output("saliency", m, "b y x")
  g:output("proxy_mask", m:ge(p.threshold), "b y x")
  g:output("distances", far, "b n")
  g:output("nearest", far:topk("n -> r", p.top_k, { smallest = true }).index, "b r")
end

-- Lloyd iterations among the first n of the centroids [k d]: the groups and the centroids.
local function kmeans(g, p, e, centroids, n)
  local k = centroids:index "k"
  local function nearest(c) return lap.where(k:lt(n), distance2(e, c), math.huge):argmin "k" end
  local c = g:loop {
    limit = p.kmeans_iters, state = { c = centroids },
    body = function(s)
      local mine = nearest(s.c):eq(k):int()
      local size = mine:sum "b"
      return { c = lap.where(size:gt(0), e:dot(mine, "b") / size:atleast(1), s.c) }
    end,
  }.c
  return nearest(c), c
end

-- Hinge on the pairs of each learner's group, by label; the mean is over the positive terms.
local function margin(p, e, labels, own)
  local a, b = e, e:as "b -> j"
  local far = distance2(a, b):atleast(1e-8):sqrt()
  local same = labels:eq(labels:as "b -> j")
  local h = relu(lap.where(same, far - p.beta, p.beta - far) + p.alpha)
  local k = e:index "k"
  local pair = a:index "b":lt(b:index "j") & own:eq(k) & own:as "b -> j":eq(k)
  local hits = (pair & h:gt(0)):sum "b j"
  return lap.where(pair, h, 0.0):sum "b j" / hits:atleast(1)
end

-- One step: the groups, the losses of the n active learners, and the masks after the step.
local function step(g, p, z, labels, s, i)
  local k = s.masks:index "k"
  local on = k:lt(i.n)
  local each = unit(z * relu(s.masks))
  local e = unit(lap.where(on, each, 0.0):sum "k")
  local C = lap.where(i.i:eq(0), e:at({ b = k }, 0), s.centroids)
  -- a new learner starts from the sample farthest from its centroid
  local nearest = lap.where(k:lt(i.n - 1), distance2(e, C), math.huge):min "k"
  C = lap.where(i.grown & k:eq(i.n - 1), e:at("b", nearest:argmax "b"), C)
  local own, centroids = kmeans(g, p, e, C, i.n)
  local losses = lap.where(on, margin(p, each, labels, own), 0.0)
  local total = losses:sum "k" + p.sparsity * lap.where(on, relu(s.masks), 0.0):sum "k d"
  local masks = s.masks - p.lr * lap.grad({ { total, 1.0 } }, { s.masks })[1]
  return { masks = masks, centroids = centroids },
    { own = own, losses = losses, total = total, masks = masks }
end
local function train(g, p, t)
  local K, count, active, grows = p.learners + #p.grow_at, {}, {}, {}
  for i = 1, p.steps do
    count[i] = p.learners
    for _, at in ipairs(p.grow_at) do count[i] = count[i] + (at < i and 1 or 0) end
    active[i], grows[i] = g:number(count[i]), g:number(i > 1 and count[i] > count[i - 1])
  end
  g:require(g:number(t.features:size "b"):ge(count[1]), "fewer samples than learners")
  local _, z = learners(g, p, t.features, K)
  local W = g:weight("masks", "k d", { k = K, d = p.dim })
  local run = g:scan {
    along = "t", state = { masks = W, centroids = W * 0.0 },
    inputs = { i = g:index("t", p.steps), n = lap.stack("t", active), grown = lap.stack("t", grows) },
    body = function(s, i) return step(g, p, z, t.labels, s, i) end,
  }
  for i = 0, p.steps - 1 do
    local function now(name) return run[name]:at("t", i) end
    g:output("groups." .. i, now "own", "b")
    g:output("losses." .. i, now "losses":slice("k", 0, count[i + 1]), "k")
    g:output("total." .. i, now "total", "1")
    g:output("masks." .. i, now "masks", "k d")
  end
end

local function refuse(p)
  for i = 2, #p.grow_at do
    if p.grow_at[i] <= p.grow_at[i - 1] then return "grow_at must rise strictly" end
  end
  if #p.out_size ~= 2 then return "out_size must have 2 entries" end
  if p.mode == "train" and p.steps < 1 then return "training needs steps" end
end

return {
  name = "dynamic_subspace", family = "metric learning",
  paper = "Attention-based Dynamic Subspace Learners for Medical Image Analysis",
  doc = "learners with masks and attention in one embedding: retrieval, or training by clusters",
  reference = "equations of the paper",
  params = {
    mode = { "enum", { "infer", "train" }, "infer", "retrieval, or steps of training" },
    learners = { "int", 3, "learners at the start", min = 1, max = 64 },
    dim = { "int", 16, "width of the embedding", min = 1 },
    att_hidden = { "int", 6, "hidden channels of an attention", min = 1 },
    out_size = { "list of int", { 12, 12 }, "size of the saliency map", min = 1 },
    threshold = { "float", 0.5, "saliency of the proxy mask" },
    queries = { "int", 4, "samples that ask; the rest is the gallery", min = 1 },
    top_k = { "int", 3, "nearest samples of a query", min = 1 },
    steps = { "int", 0, "steps of training", min = 0, max = 64 },
    grow_at = { "list of int", {}, "steps before which a learner is added", min = 0 },
    kmeans_iters = { "int", 4, "rounds of clustering", min = 0 },
    beta = { "float", 1.2, "boundary of the margin loss" },
    alpha = { "float", 0.2, "its margin" },
    sparsity = { "float", 0.01, "weight of the masks in the loss" },
    lr = { "float", 0.5, "step of the masks" },
  },
  dims = { B = 32, C = 2048, H = 7, W = 7 },
  bench = { dim = 128, att_hidden = 128, out_size = { 224, 224 }, queries = 8 },
  refuse = refuse,
  inputs = { features = "b=B c=C y=H x=W", labels = "int b=B" },
  build = function(g, p, t) return (p.mode == "train" and train or infer)(g, p, t) end,
}
