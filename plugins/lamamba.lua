-- SPDX-License-Identifier: Apache-2.0
-- A diffusion block: a selective scan along four snakes over the map, attention in (shifted) windows,
-- an MLP; each under the shift, scale and gate of the condition (adaLN).
local lap, nn = require "lap", require "lib.nn"
local selective, window = require "lib.selective", require "lib.window"

-- Orders: the lines along an axis, from the far end or not, and which visited lines turn round.
local snake = { { "y", false, "odd" }, { "y", true, "odd" }, { "x", false, "even" }, { "x", true, "even" } }
local plain = { { "y", false }, { "x", false }, { "y", true, "all" }, { "x", true, "all" } }

-- The visited line i and the place m in it, from line and place of the map or back: flips, hence
-- their own inverse.
local function turned(turns, i, m, n)
  if not turns then return m end
  if turns == "all" then return n - 1 - m end
  return lap.where((i % 2):eq(turns == "odd" and 1 or 0), n - 1 - m, m)
end
local function order(g, axis, is_far, turns)
  local function on_map(line, place)
    return axis == "y" and { y = line, x = place } or { x = line, y = place }
  end
  local n
  return {
    visit = function(u)
      n = u:size "y"
      local t = g:index("t", n * n)
      local i, m = t // n, t % n
      return u:at(on_map(is_far and n - 1 - i or i, turned(turns, i, m, n)))
    end,
    back = function(s)
      local map = on_map(g:index("y", n), g:index("x", n))      -- its own transpose
      local line, place = map.y, map.x
      local i = is_far and n - 1 - line or line
      return s:at("t", i * n + turned(turns, i, place, n))
    end,
  }
end

local function ss2d(g, p, x)
  local s, orders = { half = 2, c = p.dim, d = math.floor(p.ssm_ratio * p.dim) }, {}
  local u, z = nn.linear(x, "op.in_proj", "c -> (half d)", s, { bias = false }):unstack "half"
  if p.d_conv > 1 then
    u = nn.depthwise(u, "op.conv2d", "d", { k = p.d_conv, bias = p.conv_bias })
  end
  for i, o in ipairs(p.continuous_scan and snake or plain) do
    orders[i] = order(g, table.unpack(o, 1, 3))
  end
  local rank = p.dt_rank == "auto" and (p.dim + 15) // 16 or p.dt_rank
  local y = selective.scan(g, nn.silu(u), "op.", orders, { rank = rank, states = p.d_state })
  y = nn.layernorm(y, "op.out_norm", "d") * nn.silu(z)
  return nn.linear(y, "op.out_proj", "d -> c", s, { bias = false })
end

local function window_attention(g, p, x)
  local N, name = x:size "y", "attn.relative_position_bias_table"
  local s = lap.dim.min(N, p.window_size)          -- a small map is one window, not shifted
  local shift = lap.where(g:number(N):gt(p.window_size), p.shift_size, 0)
  local function bias(q)
    local table_bias = window.place_bias(q, name, "(dy dx) h", p.num_heads, s)
    if p.shift_size == 0 then return table_bias end
    local apart = window.is_apart(g, "Y", "y", "u", N, s, shift)
      | window.is_apart(g, "X", "x", "v", N, s, shift)
    return table_bias - 100 * apart:int()
  end
  if p.shift_size > 0 then x = x:roll("y", -shift):roll("x", -shift) end
  x = x:split("y -> Y y", { y = s }):split("x -> X x", { x = s })
  local o = window.attention(x, "attn.",
    { heads = p.num_heads, qkv_bias = p.qkv_bias, scale = p.qk_scale, bias = bias })
  o = o:merge "Y y -> y":merge "X x -> x"
  return p.shift_size > 0 and o:roll("y", shift):roll("x", shift) or o
end

local function refuse(p)
  local R = p.dt_rank
  if p.dim % p.num_heads ~= 0 then return "num_heads must divide dim" end
  if p.shift_size >= p.window_size then return "shift_size must be less than window_size" end
  if p.d_conv > 1 and p.d_conv % 2 == 0 then return "d_conv must be odd" end
  if not p.project_condition and p.condition_dim ~= p.dim then
    return "a condition that is not projected needs condition_dim = dim"
  end
  if R ~= "auto" and not (math.type(R) == "integer" and R >= 1) then
    return "dt_rank must be \"auto\" or at least 1"
  end
  if math.floor(p.ssm_ratio * p.dim) < 1 then return "ssm_ratio leaves no channel to scan" end
end

return {
  name = "lamamba", family = "state space",
  paper = "LaMamba-Diff: Linear-Time High-Fidelity Diffusion Models Based on Local Attention and Mamba",
  doc = "selective scan over snakes, window attention and an MLP under a condition",
  reference = "yunxiangfu2001/LaMamba-Diff, model/lamamba.py (MIT)",
  params = {
    dim = { "int", 256, "channels", min = 1 },
    condition_dim = { "int", function(p) return p.dim end, "width of the condition", min = 1 },
    project_condition = { "bool", false, "a layer maps the condition to dim" },
    window_size = { "int", 8, "side of a window", min = 1 },
    shift_size = { "int", 0, "how far windows are shifted", min = 0 },
    num_heads = { "int", 8, "heads of the windows", min = 1 },
    qkv_bias = { "bool", true, "bias of the projections" },
    qk_scale = { "float?", nil, "factor of the scores, 1/sqrt(dim/num_heads) unless given" },
    d_state = { "int", 1, "states per channel", min = 1 },
    ssm_ratio = { "float", 2.0, "scanned channels over dim" },
    dt_rank = { "any", "auto", "rank of delta; \"auto\": dim/16 rounded up" },
    d_conv = { "int", 3, "side of the depthwise kernel, odd; below 2 none", min = 0 },
    conv_bias = { "bool", true, "its bias" },
    continuous_scan = { "bool", true, "snakes; false: rows and columns" },
    mlp_ratio = { "float", 4.0, "hidden width over dim", min = 0 },
  },
  dims = { B = 1, N = 32, M = 16 },
  refuse = refuse,
  inputs = function(p)                             -- snakes need an even side
    local side = p.continuous_scan and "2*M" or "N"
    return { x = ("b=B y=%s x=%s c=dim"):format(side, side), c = "b=B e=condition_dim" }
  end,
  build = function(g, p, t)
    local x, e = t.x, t.c:as "e -> c"
    if p.project_condition then
      e = nn.linear(e, "condition_projection", "c -> c", { c = p.dim })
    end
    local mod = nn.linear(nn.silu(e), "adaLN_modulation.1", "c -> (i c)", { i = 9, c = p.dim })
    local function under(z, i, name)               -- the condition's parts: shift, scale, gate
      return nn.layernorm(z, name, "c") * (1 + mod:at("i", i + 1)) + mod:at("i", i)
    end
    local ssm = ss2d(g, p, under(x, 0, "norm"))
    x = x + mod:at("i", 2) * ssm
    x = x + mod:at("i", 5) * window_attention(g, p, under(x, 3, "norm_swin"))
    local hidden = math.floor(p.dim * p.mlp_ratio)
    x = x + mod:at("i", 8) * nn.mlp(under(x, 6, "norm2"), "mlp.fc1", "mlp.fc2", hidden)
    g:output("ssm", ssm, "b y x c")
    g:output("y", x, "b y x c")
  end,
}
