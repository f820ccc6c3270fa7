-- SPDX-License-Identifier: Apache-2.0
-- selective.lua: the selective scan (S6) over a map, along several orders of its pixels, with the
-- weight names of VMamba's checkpoints.
local nn = require "lib.nn"
local selective = {}

-- Rows, columns, and both reversed.
selective.cross = { { "y x" }, { "x y" }, { "y x", reverse = true }, { "x y", reverse = true } }

local function visited(order, u)
  return order.visit and order.visit(u) or u:merge(order[1] .. " -> t")
end
local function put_back(order, y, u)
  if order.back then return order.back(y) end
  return y:split("t -> " .. order[1], { x = u:size "x", y = u:size "y" })
end

-- h_t = exp(delta A) h_{t-1} + delta u B, y_t = h_t C + D u, where delta = softplus(W r + bias) and
-- r, B, C are linear in u [b d y x]; the sum over the orders, each put back at the pixels. An order is
-- { "y x", reverse = }, or { visit = u -> axis t, back = axis t -> "y x" }. o.rank: width of r,
-- o.states: entries of h per channel.
function selective.scan(g, u, pre, orders, o)
  local s = { k = #orders, d = u:size "d", r = o.rank, n = o.states, f = o.rank + 2 * o.states }
  local function per(name, spec) return g:weight(pre .. name, spec, s) end
  local Wx, Wdt = per("x_proj_weight", "k f d"), per("dt_projs_weight", "k d r")
  local bdt, A, D = per("dt_projs_bias", "k d"), -per("A_logs", "(k d) n"):exp(), per("Ds", "(k d)")
  local total
  for i, order in ipairs(orders) do
    local k, x = i - 1, visited(order, u)
    local r, B, C = x:dot(Wx:at("k", k), "d"):cut("f", s.r, s.n, s.n)
    B, C = B:as "f -> n", C:as "f -> n"
    local delta = nn.softplus(r:as "f -> r":dot(Wdt:at("k", k), "r") + bdt:at("k", k))
    local y = g:scan {
      along = "t", reverse = order.reverse, state = { h = g:zeros("b d n", u, A) },
      inputs = { decay = (delta * A:at("k", k)):exp(), add = delta * x * B, C = C },
      body = function(state, t)
        local h = t.decay * state.h + t.add
        return { h = h }, { y = h:dot(t.C, "n") }
      end,
    }.y
    y = put_back(order, y + D:at("k", k) * x, u)
    total = total and total + y or y
  end
  return total
end

return selective
