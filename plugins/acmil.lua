-- SPDX-License-Identifier: Apache-2.0
-- K attention branches pool a bag of instances; training masks a random part of each branch's best
-- instances, so that attention moves to others. The bag itself is pooled by the mean attention.
local lap, nn = require "lap", require "lib.nn"

-- Scores A [n k] or, multihead, [n k h]: a row per branch (and head).
local function gated(p, h)
  local s = { a = p.d_attn, k = p.n_branch }
  local V = nn.linear(h, "attention.attention_V.0", "d -> a", s):tanh()
  local U = nn.linear(h, "attention.attention_U.0", "d -> a", s):sigmoid()
  return nn.linear(V * U, "attention.attention_weights", "a -> k", s)
end
local function multihead(g, p, h, s)
  local q, A = g:weight("q", "1 k d", { k = p.n_branch, d = p.d_inner }), {}
  for i = 0, p.n_branch - 1 do
    local pre = "sub_attention." .. i .. "."
    local query = nn.linear(q:at("k", i), pre .. "q_proj", "d -> (h e)", s)
    A[i + 1] = query:dot(nn.linear(h, pre .. "k_proj", "d -> (h e)", s), "e") * s.e ^ -0.5
  end
  return lap.stack("k", A)
end

-- Of the kk best instances of a row, those at the places of its smallest random numbers.
local function dropped(g, p, A, rand)
  local N = A:size "n"
  local kk = lap.dim.min(p.n_masked_patch, N)
  local count = lap.dim.trunc(p.mask_drop, kk)
  g:require(g:number(count):lt(N), "mask_drop would mask every instance")
  local best = A:topk("n -> t", kk).index
  local place = rand:topk("r -> s", count, { smallest = true }).index
  local ones = g:full(1, "", A)
  return ones:scatter("s", { n = best:at("t", place) }, { n = N }, { mode = "set" }):gt(0)
end

-- Branch and slide cross-entropy, how much the branches' maps a agree, and the sum.
local function losses(g, p, branch, slide, a)
  local K, zero = p.n_branch, g:number(0.0)
  local function ce(l) return -l:log_softmax "o":at("o", p.label) end
  local part = { zero, ce(slide), zero }
  if K > 1 then
    local u = a / (a * a):sum "n":sqrt():atleast(1e-8)
    local cosine = u:dot(u:as "k -> j", "n")
    local is_pair = a:index "k":lt(g:index("j", K))
    local agree = lap.where(is_pair, cosine, 0.0):sum "k j" / (K * (K - 1) / 2)
    part[1], part[3] = ce(branch):mean "k", agree:has "h" and agree:mean "h" or agree
  end
  part[4] = part[1] + part[2] + part[3]
  return lap.stack("l", part)
end

return {
  name = "acmil", family = "pooling",
  paper = "Attention-Challenging Multiple Instance Learning for Whole Slide Image Classification",
  doc = "a bag pooled by several attention branches, with masking of their best instances",
  reference = "dazhangyu123/ACMIL, architecture/transformer.py (MIT)",
  params = {
    variant = { "enum", { "gated", "multihead" }, "gated", "ACMIL_GA or ACMIL_MHA" },
    d_feat = { "int", 1024, "features of an instance", min = 1 },
    d_inner = { "int", 512, "width after the reduction", min = 1 },
    d_attn = { "int", 128, "gated: width of the scores' network", min = 1 },
    n_class = { "int", 2, "classes", min = 1 },
    n_branch = { "int", 5, "attention branches", min = 1, max = 64 },
    n_masked_patch = { "int", 10, "best instances among which are masked ones", min = 1 },
    mask_drop = { "float", 0.6, "share of them that is masked", min = 0, max = 1 },
    masking = { "bool", true, "as in training; false: evaluation" },
    heads = { "int", 8, "multihead: heads", min = 1 },
    ln_eps = { "float", 1e-6, "multihead: of the layer norms", min = 0 },
    label = { "int", 0, "class of the bag, for the losses", min = 0 },
  },
  dims = { N = 4096 },
  refuse = function(p)
    if p.variant == "multihead" and p.d_inner % p.heads ~= 0 then
      return "heads must divide d_inner"
    end
    if p.label >= p.n_class then return "label must lie in 0..n_class-1" end
  end,
  inputs = function(p)
    local rows = p.variant == "gated" and "k=n_branch" or "k=n_branch h=heads"
    return { x = "1 n=N f=d_feat",
      rand = p.masking and rows .. " r=min(n_masked_patch,N)" or "? " .. rows .. " r" }
  end,
  build = function(g, p, t)
    local is_multi, s = p.variant == "multihead", { d = p.d_inner, o = p.n_class, h = p.heads }
    s.e = p.d_inner // p.heads
    g:require(g:number(t.x:size "n"):ge(1), "x has no instances")
    local h = nn.relu(nn.linear(t.x, "dimreduction.fc1", "f -> d", s, { bias = false }))
    local A = is_multi and multihead(g, p, h, s) or gated(p, h)
    local is_masked = g:full(false, table.concat(A:axes(), " "), A)
    if p.masking then is_masked = dropped(g, p, A, t.rand) end
    A = lap.where(is_masked, -1e9, A)
    local a = A:softmax "n"
    local function pooled(map, pre)                -- the feature under a map [n] or [n h]
      if not is_multi then return map:dot(h, "n") end
      local o = map:dot(nn.linear(h, pre .. "v_proj", "d -> (h e)", s), "n")
      o = nn.linear(o, pre .. "out_proj", "(h e) -> d", s)
      return nn.layernorm(o, pre .. "layer_norm", "d", p.ln_eps)
    end
    local logits = {}
    for i = 0, p.n_branch - 1 do
      local f = pooled(a:at("k", i), "sub_attention." .. i .. ".")
      logits[i + 1] = nn.linear(f, "classifier." .. i .. ".fc", "d -> o", s)
    end
    local branch = lap.stack("k", logits)
    local slide = nn.linear(pooled(a:mean "k", "bag_attention."), "Slide_classifier.fc", "d -> o", s)
    local rows = is_multi and "h k n" or "1 k n"
    g:output("branch_logits", branch, "k o")
    g:output("slide_logits", slide, "1 o")
    g:output("scores", A, rows)
    g:output("masked", is_masked, rows)
    g:output("losses", losses(g, p, branch, slide, a), "l")
  end,
}
