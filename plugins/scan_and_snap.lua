-- SPDX-License-Identifier: Apache-2.0
-- SGD of a one-layer transformer on token ids: the attention first scans for distinct tokens, then
-- freezes. The gradients are exact and the steps one scan; tokens are gathers, never one-hot
-- vectors.
local lap = require "lap"

-- Mean loss and attention [b l]. Y [o k]: logit of o from token k; Z [m k]: score of key k at query m.
local function model(p, Y, Z, x, label)
  local L = x:size "l"
  local last, keys = x:at("l", L - 1), p.include_last and x or x:slice("l", 0, L - 1)
  local a = Z:at { m = last, k = keys }:softmax "l"
  local c = a:scatter("l", { k = keys }, { k = p.vocab })         -- sum of a_l e_{x_l}
  if p.residual then c = c + c:index "k":eq(last):int() end
  local f = p.normalize and c / (c * c):sum "k":sqrt() or c
  return -Y:dot(f, "k"):log_softmax "o":at("o", label):mean "b", a
end
local function gradients(g, p, Y, Z, x, label)
  local loss, a = model(p, Y, Z, x, label)
  local dY, dZ = table.unpack(lap.grad({ { loss, g:number(1.0) } }, { Y, Z }))
  return dY, dZ, loss, a
end

return {
  name = "scan_and_snap", family = "training",
  doc = "training steps of a one-layer transformer, with exact gradients",
  paper = "Scan and Snap: Understanding Training Dynamics and Token Composition in 1-layer Transformer",
  reference = "facebookresearch/luckmatters, ssl/real-dataset/decoder_only.py (CC BY-NC 4.0)",
  params = {
    vocab = { "int", 1000, "tokens", min = 1 },
    steps = { "int", 10, "steps", min = 1 },
    lr_y = { "float", 1.0, "rate of the decoder" },
    lr_z = { "float", 1.0, "rate of the attention" },
    momentum = { "float", 0.0, "of both" },
    weight_decay = { "float", 0.0, "of both" },
    include_last = { "bool", false, "the last token is also a key" },
    residual = { "bool", false, "adds the last token to what is attended" },
    normalize = { "bool", true, "divides it by its norm" },
  },
  dims = { B = 128, L = 32 },
  refuse = function(p)
    for _, name in ipairs { "lr_y", "lr_z", "momentum", "weight_decay" } do
      if p[name] ~= p[name] or math.abs(p[name]) == math.huge then return name .. " must be finite" end
    end
  end,
  inputs = { x = "int s=steps b l", label = "int s=steps b" },
  build = function(g, p, t)
    local least = p.include_last and 1 or 2
    g:require(g:number(t.x:size "l"):ge(least),
      ("x must hold at least %d tokens: there is no key"):format(least))
    for _, ids in ipairs { t.x, t.label } do
      g:require(ids:ge(0) & ids:lt(p.vocab), "a token lies outside 0..vocab-1")
    end
    local sizes = { o = p.vocab, m = p.vocab, k = p.vocab }
    local Y, Z = g:weight("K1.weight", "o k", sizes), g:weight("K2.weight", "m k", sizes)
    local dY, dZ = gradients(g, p, Y, Z, t.x:at("s", 0), t.label:at("s", 0))
    g:output("grad_Y", dY, "o k")
    g:output("grad_Z", dZ, "m k")
    local run = g:scan { along = "s", inputs = { x = t.x, label = t.label },
      state = { Y = Y, Z = Z, vY = Y * 0, vZ = Z * 0 },
      body = function(w, i)
        local gY, gZ, loss, a = gradients(g, p, w.Y, w.Z, i.x, i.label)
        local vY = p.momentum * w.vY + gY + p.weight_decay * w.Y
        local vZ = p.momentum * w.vZ + gZ + p.weight_decay * w.Z
        local Y1, Z1 = w.Y - p.lr_y * vY, w.Z - p.lr_z * vZ
        return { Y = Y1, Z = Z1, vY = vY, vZ = vZ }, { loss = loss, attn = a, Y = Y1, Z = Z1 }
      end }
    g:output("loss", run.loss, "s")
    g:output("attn", run.attn, "s b l")
    g:output("Y", run.Y, "s o k")
    g:output("Z", run.Z, "s m k")
  end,
}
