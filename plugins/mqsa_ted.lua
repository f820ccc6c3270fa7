-- SPDX-License-Identifier: Apache-2.0
-- Two causal encoders of one sequence: one asks with the last item, one with the mean of the last L; a
-- loss distils transition counts into the embeddings. A masked score is replaced, not added to, so that
-- a row without keys is uniform over all places.
local lap, nn = require "lap", require "lib.nn"
local low = -2.0 ^ 32 + 1

local function norm(x, name) return nn.layernorm(x, name, "c", 1e-24) end
local function is_some(x) return x:abs():sum "c":ne(0) end        -- not the zero vector

-- Sum over the last w places of axis t; nothing lies before place 0.
local function recent(x, w) return x:at({ t = x:index "t" - x.g:index("l", w) }, 0):sum "l" end

local function encoder(g, p, x, mask, pre, w)
  local s = { h = p.num_head, d = p.num_factor // p.num_head }
  for i = 0, p.num_block - 1 do
    local b = ("%s.%d."):format(pre, i)
    local function heads(z, name) return nn.linear(z, b .. name, "c -> (h d)", s) end
    local asked = norm(recent(x, w) / (recent(mask, w) + 1e-24), b .. "norm_q")
    local past = x:as "t -> s"
    local is_seen = past:index "s":le(x:index "t") & is_some(past)
    local score = heads(asked, "q"):dot(heads(past, "k"), "d") * s.d ^ -0.5
    local o = g:attend { keys = "s", score = lap.where(is_seen, score, low), value = heads(past, "v") }
    o = lap.where(is_some(asked), o.out:merge "h d -> c", 0.0) + asked     -- the query stays, not x
    o = norm(o, b .. "norm_out")
    x = (o + nn.linear(nn.relu(nn.linear(o, b .. "ff1", "c -> c")), b .. "ff2", "c -> c")) * mask
  end
  return norm(x, pre .. ".norm")
end

local function recommendation_loss(p, t, logits)
  local target = t.pred_seq:ne(p.num_item):int():float()
  t.pred_seq.g:require(target:sum():gt(0), "pred_seq has no item")
  local miss = -logits:log_softmax "i":at("i", t.pred_seq)
  return (miss * target):sum() / target:sum()
end
local function distillation_loss(p, t, item)
  local tail = lap.stop(t.item_tail)
  local teacher = (tail / (tail:max "i" + 1e-24) / p.tau):softmax "i"
  local student = (p.num_factor ^ 0.5 * item:at("i", t.item_head)):dot(item, "c") / p.tau
  return -(teacher * (student:softmax "i" + 1e-24):log()):sum "i":mean "m"
end

local function check_ids(g, p, t)
  for _, name in ipairs { "input_seq", "pred_seq" } do
    g:require((t[name]:ge(0) & t[name]:le(p.num_item)):all(), name .. " has an id outside 0..num_item")
  end
  local is_item = t.item_head:ge(0) & t.item_head:lt(p.num_item)
  g:require(is_item:all(), "item_head has an id outside 0..num_item-1")
end

return {
  name = "mqsa_ted", family = "recommendation",
  paper = "Multi-Query Self-Attention with Transition-Aware Embedding Distillation for Sequential "
    .. "Recommendation",
  doc = "two causal encoders with short and long queries, and the losses of training",
  reference = "zhuty16/MQSA-TED, MQSA_TED.py (no licence), run, not copied",
  params = {
    num_item = { "int", 12101, "items; the id num_item is padding", min = 1 },
    num_factor = { "int", 64, "width", min = 1 },
    max_len = { "int", 50, "places of a sequence", min = 1 },
    L = { "int", 3, "items in a long query", min = 1 },
    num_block = { "int", 1, "blocks of each encoder", min = 0, max = 32 },
    num_head = { "int", 1, "heads", min = 1 },
    alpha = { "float", 0.5, "weight of the short encoder" },
    tau = { "float", 0.1, "temperature of the distillation" },
    lambda_kd = { "float", 0.1, "its weight in the loss" },
    l2_reg = { "float", 1e-4, "weight of the squared weights" },
    with_grad = { "bool", false, "also gradients of the loss" },
  },
  dims = { B = 16, M = 64 },
  refuse = function(p)
    if p.num_factor % p.num_head ~= 0 then return "num_head must divide num_factor" end
    if p.L > p.max_len then return "L must be at most max_len" end
    if p.tau <= 0 then return "tau must be positive" end
  end,
  inputs = { input_seq = "int b=B t=max_len", pred_seq = "int b=B t=max_len", item_head = "int m=M",
    item_tail = "m=M i=num_item", input_u_mask = "b=B i=num_item" },
  build = function(g, p, t)
    local I, D, T = p.num_item, p.num_factor, p.max_len
    check_ids(g, p, t)
    local item = g:weight("item_embedding", "i c", { i = I, c = D })
    local place = g:weight("position_embedding", "t c", { t = T, c = D })
    local E = item:pad("i", 0, 1)                  -- padding is a zero row
    local mask = t.input_seq:ne(I):int():float()
    local x = (D ^ 0.5 * E:at("i", t.input_seq) + place) * mask
    local short, long = encoder(g, p, x, mask, "short", 1), encoder(g, p, x, mask, "long", p.L)
    local logits = p.alpha * short:dot(E, "c") + (1 - p.alpha) * long:dot(E, "c")
    local loss_rec, loss_kd = recommendation_loss(p, t, logits), distillation_loss(p, t, item)
    local l2 = 0.0
    for _, w in ipairs(g.weights) do l2 = l2 + 0.5 * (w * w):sum() end
    local loss = loss_rec + p.lambda_kd * loss_kd + p.l2_reg * l2
    local last = logits:at("t", T - 1):slice("i", 0, I)
    g:output("seq_short", short, "b t c")
    g:output("seq_long", long, "b t c")
    g:output("test_logits", last - 2.0 ^ 32 * t.input_u_mask, "b i")
    g:output("loss_rec", loss_rec, "1")
    g:output("loss_kd", loss_kd, "1")
    g:output("loss", loss, "1")
    if p.with_grad then
      local d = lap.grad({ { loss, 1.0 } }, { item, place })
      g:output("d_item_embedding", d[1], "i c")
      g:output("d_position_embedding", d[2], "t c")
    end
  end,
}
