-- SPDX-License-Identifier: Apache-2.0
-- token_merge.lua: token merging (ToMe) on a map: one destination per cell, all other tokens are
-- sources; the sources most alike a destination are folded into it.
local lap, act = require "lap", require "lib.activation"
local token_merge = {}

-- x [b n c], tokens of a map of o.H x o.W, row-major; the destinations are the first tokens of the
-- cells of o.sy x o.sx that are whole. Results: n_sources; merge(a, r): the tokens of a with r sources
-- fewer, the remaining sources and then the destinations; rows(r): where each of the n tokens went.
function token_merge.plan(g, x, o)
  local H, W, sy, sx = o.H, o.W, o.sy, o.sx
  local T, N = (H // sy) * (W // sx), H * W
  local n, t, S = g:index("n", N), g:index("t", T), N - T
  local at = t // (W // sx) * (sy * W) + t % (W // sx) * sx          -- where destination t is
  local is_source = (n // W % sy):ne(0) | (n % W % sx):ne(0)
    | (n // W):ge(H // sy * sy) | (n % W):ge(W // sx * sx)
  local from = is_source:int():topk("n -> s", S, { order = "position" }).index
  local u = act.unit(x, "c")
  local alike = u:at("n", from):dot(u:at("n", at), "c")              -- b s t
  local order = alike:max "t":sort "s -> s".index
  local ids, target = from:at("s", order), alike:argmax "t":at("s", order)
  local plan = { n_sources = S }
  function plan.merge(a, r)
    local into, gone = target:slice("s", 0, r), a:at("n", ids:slice("s", 0, r))
    local sum = gone:scatter("s", { t = into }, { t = T })
    local count = g:full(1.0, "s", into):scatter("s", { t = into }, { t = T })
    local rest = a:at("n", ids:slice("s", r, S - r)):as "s -> n"
    return lap.cat("n", { rest, ((a:at("n", at) + sum) / (count + 1)):as "t -> n" })
  end
  function plan.rows(r)
    local s = g:index("s", S)
    return lap.where(s:lt(r), S - r + target, s - r):scatter("s", { n = ids }, { n = N })
      + (S - r + t):scatter("t", { n = at }, { n = N })
  end
  return plan
end

return token_merge
