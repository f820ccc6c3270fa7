-- SPDX-License-Identifier: Apache-2.0
-- After each layer a small gate on the text's state may remove all visual tokens, for every row on
-- its own. Those that stay keep their positions, so a row has one of two lengths: it is ragged.
local lap, nn = require "lap", require "lib.nn"
local decoder, stack = require "lib.decoder", require "lib.stack"

-- Logits [b e] of staying and leaving, from the mean of the prompt's text and from its last token.
local function gate(g, p, i, mean, last)
  local pre, sizes = ("visual_gates_router.%d."):format(i), { s = 2, c = p.dim, f = p.router_dim, e = 2 }
  local state = lap.stack("s", { mean, last })
  local h = nn.gelu(state:dot(g:weight(pre .. "w1.weight", "f (s c)", sizes), "s c"))
  return h:dot(g:weight(pre .. "w2.weight", "e f", sizes), "f")
end

return {
  name = "dyvte", family = "pruning",
  doc = "a decoder whose visual tokens leave at a layer that the data choose",
  paper = "Accelerating Multimodal Large Language Models via Dynamic Visual-Token Exit "
    .. "and the Empirical Findings",
  reference = "DoubtedSteam/DyVTE, modeling_llama.py, inference",
  params = decoder.params {
    n_layers = { "int", 6, "layers, each with a gate", min = 1, max = 128 },
    n_sys = decoder.n_sys(5),
    n_visual = decoder.n_visual(16),
    router_dim = { "int", 12, "hidden width of a gate", min = 1 },
    decode_steps = decoder.decode_steps,
  },
  dims = { B = 1, N = "n_sys + n_visual + 64" },
  bench = decoder.bench { n_sys = 35, n_visual = 576, router_dim = 2048 },
  refuse = decoder.refuse,
  inputs = decoder.inputs(),
  build = function(g, p, t)
    local x, N, V, sys = t.embeds, t.embeds:size "n", p.n_visual, p.n_sys
    decoder.room(g, p, N, V, 2)
    local exit, cache, gates = g:full(-1, "b", x), {}, {}         -- exit: the layer after which a row left
    local len = exit * 0 + N
    local prompt = g:index("u", N - sys - V - 1)   -- the text behind the image but its last token
    local function skip(n)                         -- the old place of n in a row without the image
      return lap.where(n:lt(sys), n, n + V)
    end

    for i = 0, p.n_layers - 1 do
      local n, is_gone = x:index "n", exit:ge(0)
      x = decoder.layer(g, p, i, x, lap.where(is_gone, skip(n), n), cache)
      local text = x:at("n", len - (N - sys - V) + prompt):mean "u"
      local logit = lap.where(is_gone, 0, gate(g, p, i, text, x:at("n", len - 1)))
      local leaves = logit:at("e", 1):gt(logit:at("e", 0))
      gates[i + 1], exit = logit, lap.where(leaves, i, exit)
      len = len - lap.where(leaves, V, 0)
      local place = g:index("n", N):ragged("n", len)
      x = x:at("n", lap.where(leaves, skip(place), place))
    end
    local n = g:index("n", N - V)
    local hidden = decoder.norm(p, x:at("n", lap.where(exit:ge(0), n, skip(n))))
    g:output("hidden_text", hidden, "b n c")
    g:output("logits_last", stack.logits(hidden:at("n", N - V - 1)), "b o")
    g:output("exit_layer", exit, "b")
    g:output("gate_logits", lap.stack("l", gates), "b l e")
    decoder.decode(g, p, t.decode_embeds, function(i, y, s)
      return decoder.layer(g, p, i, y, g:number(N + s), cache)
    end)
  end,
}
