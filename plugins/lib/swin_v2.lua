-- SPDX-License-Identifier: Apache-2.0
-- swin_v2.lua: the SwinV2 block: cosine attention in shifted windows, a continuous position bias,
-- norms behind the branches.
local lap, nn = require "lap", require "lib.nn"
local swin = {}

-- An axis no longer than a window is not shifted: a choice at run time. An axis pair (Y y) counts
-- windows and places of the rolled map; by: how far it is rolled.
local function shifts(g, x, s, shift)
  local function by(n) return lap.where(g:number(n):gt(s), shift, 0) end
  return by(x:size "y"), by(x:size "x")
end
local function cut(g, a, s, by, bx)
  local H, W = a:size "y", a:size "x"
  local y, x = g:index("Y", H / s) * s + g:index("y", s), g:index("X", W / s) * s + g:index("x", s)
  return a:at { y = (y + by) % H, x = (x + bx) % W }
end
local function join(o, like, s, by, bx)
  local y = (like:index "y" - by) % like:size "y"
  local x = (like:index "x" - bx) % like:size "x"
  return o:at { Y = y // s, y = y % s, X = x // s, x = x % s }
end

-- The bias: an MLP of the displacement on a logarithmic scale, on its table of (2s - 1)^2.
local function place_bias(g, pre, q, k, s, sizes)
  local function scaled(axis)
    local u = (g:index(axis, 2 * s - 1) - (s - 1)) * (8 / math.max(s - 1, 1))
    return u:sign() * (u:abs() + 1):log() / (3 * math.log(2))
  end
  local t = lap.stack("f", { scaled "dy", scaled "dx" })
  local hidden = nn.relu(nn.linear(t, pre .. "cpb_mlp.0", "f -> k"))
  local bias = nn.linear(hidden, pre .. "cpb_mlp.2", "k -> h", sizes, { bias = false })
  local dy, dx = q:index "y" - k:index "u", q:index "x" - k:index "v"
  return 16 * bias:sigmoid():at { dy = dy + (s - 1), dx = dx + (s - 1) }
end
-- Whether query and key come from different parts of the map before it was rolled.
local function is_foreign(g, like, q, k, s, by, bx)
  local function zone(pos, n, b)
    return lap.where(b:gt(0), pos:ge(n - s):int() + pos:ge(n - b):int(), 0)
  end
  local H, W = like:size "y", like:size "x"
  local Y, X = g:index("Y", H / s) * s, g:index("X", W / s) * s
  return zone(Y + q:index "y", H, by):ne(zone(Y + k:index "u", H, by))
    | zone(X + q:index "x", W, bx):ne(zone(X + k:index "v", W, bx))
end

local function attention(g, x, pre, p, shift)
  local s, C = p.window_size, x:size "c"
  local sizes = { s = 3, h = p.num_heads, d = C / p.num_heads, c = C }
  local by, bx = shifts(g, x, s, shift)
  local q, k, v = nn.linear(x, pre .. "qkv", "c -> (s h d)", sizes, { bias = false }):unstack "s"
  if p.qkv_bias then
    q = q + g:weight(pre .. "q_bias", "(h d)", sizes)
    v = v + g:weight(pre .. "v_bias", "(h d)", sizes)
  end
  q, k, v = cut(g, q, s, by, bx), cut(g, k, s, by, bx), cut(g, v, s, by, bx)
  q, k, v = q:queries("y x -> u v", k, v)
  -- the checkpoint's clamp of the learned temperature
  local scale = g:weight(pre .. "logit_scale", "h 1 1", sizes):atmost(math.log(100)):exp()
  local score = nn.unit(q, "d"):dot(nn.unit(k, "d"), "d") * scale
  score = score + place_bias(g, pre, q, k, s, sizes)
  if shift > 0 then score = score - 100 * is_foreign(g, x, q, k, s, by, bx):int() end
  local o = g:attend { keys = "u v", score = score, value = v }.out
  return join(nn.linear(o, pre .. "proj", "(h d) -> c", sizes), x, s, by, bx)
end

-- x [.. y x c], whose sides are multiples of p.window_size. p: num_heads, mlp_ratio, qkv_bias.
function swin.block(g, x, pre, p, shift)
  local C = x:size "c"
  local y = attention(g, x, pre .. "attn.", p, shift)
  x = x + nn.layernorm(y, pre .. "norm1", "c")
  -- the width of the MLP follows the weights where that of x does
  local hidden = lap.dim.is(C) and lap.dim.symbol "F" or math.floor(C * p.mlp_ratio)
  y = nn.mlp(x, pre .. "mlp.fc1", pre .. "mlp.fc2", hidden)
  return x + nn.layernorm(y, pre .. "norm2", "c")
end

return swin
