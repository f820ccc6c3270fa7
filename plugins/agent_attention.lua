-- SPDX-License-Identifier: Apache-2.0
-- Agent tokens, pooled from the queries, gather the values by a softmax; the queries read the agents
-- by another. No map of all pairs is formed.
local lap, nn = require "lap", require "lib.nn"
local swin, merging = require "lib.swin", require "lib.token_merge"

local function side(p) return math.tointeger(math.sqrt(p.agent_num)) end

-- Biases of (agent, key) [h ay ax m] and (query, agent) [h n ay ax]: a resized table, plus one per row
-- and per column; class tokens have their own.
local function biases(g, p, pre, grid, keys, has_class)
  local function w(name, spec, at)
    local s = { h = p.num_heads, ay = side(p), ax = side(p), y = at and at.y, x = at and at.x, n = 1, m = 1 }
    return g:weight(pre .. name, spec, s)
  end
  local function field(name, to)                   -- from the 7 x 7 of the training
    return nn.resize(w(name, "h (ay ax) y x", { y = 7, x = 7 }), "y x", to, { mode = "linear" })
  end
  local P = field("an_bias", keys) + w("ah_bias", "1 h (ay ax) y 1", keys)
    + w("aw_bias", "1 h (ay ax) 1 x", keys)
  local R = field("na_bias", grid) + w("ha_bias", "1 h y 1 (ay ax)", grid)
    + w("wa_bias", "1 h 1 x (ay ax)", grid)
  P, R = P:merge "y x -> m", R:merge "y x -> n"
  if not has_class then return P, R end
  return lap.cat("m", { w("ac_bias", "1 h (ay ax) m"), P }),
    lap.cat("n", { w("ca_bias", "1 h n (ay ax)"), R })
end

-- q [.. n h d], k and v [.. m h d]: n and m are grids, row-major, after `class` (0 or 1) class tokens.
local function agents(g, p, q, k, v, pre, grid, keys, class)
  local s, map = (p.dim // p.num_heads) ^ -0.5, q:slice("n", class, grid.y * grid.x):split("n -> y x", grid)
  local A = nn.adaptive_avg_pool(map, "y x", side(p)):as "y x -> ay ax"
  local P, R = biases(g, p, pre, grid, keys, class > 0)
  local VA = g:attend { keys = "m", score = A:dot(k, "d") * s + P, value = v }.out
  return g:attend { keys = "ay ax", score = q:dot(A, "d") * s + R, value = VA }.out
end

local function queries_keys_values(p, x, pre, grid, keys)
  local size, bias = { h = p.num_heads, d = p.dim // p.num_heads, s = 2 }, { bias = p.qkv_bias }
  if p.variant ~= "pvt" then
    size.s = 3
    return nn.linear(x, pre .. "qkv", "c -> (s h d)", size, bias):unstack "s"
  end
  local source, r = x, p.sr_ratio
  if keys ~= grid then
    source = nn.conv(x:split("n -> y x", grid), pre .. "sr", "c -> c", { k = r, stride = r, pad = 0 })
    source = nn.layernorm(source:merge "y x -> n", pre .. "norm", "c")
  end
  return nn.linear(x, pre .. "q", "c -> (h d)", size, bias),
    nn.linear(source, pre .. "kv", "c -> (s h d)", size, bias):unstack "s"
end

-- x [.. n c] -> the same. The depthwise convolution sees the grid of the values only.
local function attention(g, p, x, pre, grid)
  local r, class = p.variant == "pvt" and p.sr_ratio or 1, p.variant == "deit" and 1 or 0
  local keys = r > 1 and { y = grid.y // r, x = grid.x // r } or grid
  local q, k, v = queries_keys_values(p, x, pre, grid, keys)
  local o = agents(g, p, q, k:as "n -> m", v:as "n -> m", pre, grid, keys, class)
  local map = v:slice("n", class, keys.y * keys.x):split("n -> y x", keys)
  if keys ~= grid then map = nn.resize(map, "y x", grid, { mode = "linear" }) end
  map = nn.depthwise(map, pre .. "dwc", "h d", { k = 3 }):merge "y x -> n"
  return nn.linear(o + map:pad("n", class, 0), pre .. "proj", "(h d) -> c", { c = p.dim })
end

-- Diffusion: similar tokens are merged; those of a merge that leaves fewer are the agents.
local function diffusion(g, p, x)
  local m = merging.plan(g, x, { H = p.H, W = p.W, sy = p.sy, sx = p.sx })
  local N = p.H * p.W
  local r = math.min(m.n_sources, math.floor(N * p.ratio))
  local ra = math.min(m.n_sources, math.floor(N * p.agent_ratio))
  local F, has_agents = m.merge(x, r), 2 * (N - ra) < N - r
  local size, s = { h = p.num_heads, d = p.head_dim, c = p.dim }, p.head_dim ^ -0.5
  local function project(a, name) return nn.linear(a, name, "c -> (h d)", size, { bias = false }) end
  local q, k, v, y = project(F, "to_q"), project(F, "to_k"):as "n -> m", project(F, "to_v"), nil
  local V = v:as "n -> m"
  if has_agents then
    local A = project(m.merge(x, ra), "to_q"):as "n -> a"
    local VA = g:attend { keys = "m", score = A:dot(k, "d") * s, value = V }.out
    y = g:attend { keys = "a", score = q:dot(A, "d") * s ^ p.k_scale2, value = VA }.out
      + p.k_shortcut * v
  else
    y = g:attend { keys = "m", score = q:dot(k, "d") * s, value = V }.out
  end
  g:output("num_tokens", g:number(N - r), "1")
  g:output("num_agents", g:number(has_agents and N - ra or 0), "1")
  return nn.linear(y, "to_out.0", "(h d) -> c", size):at("n", m.rows(r))
end

local function refuse(p)
  if p.variant == "sd" then
    if p.sx > p.W or p.sy > p.H then return "sx and sy must not exceed the grid" end
    if p.ratio >= 1 then return "ratio must lie in [0, 1)" end
    return p.H * p.W * p.ratio < 1 and "ratio merges no token" or nil
  end
  if p.dim % p.num_heads ~= 0 then return "num_heads must divide dim" end
  if not side(p) then return "agent_num must be a square" end
  if p.variant == "pvt" and (p.H % p.sr_ratio ~= 0 or p.W % p.sr_ratio ~= 0) then
    return "sr_ratio must divide H and W"
  end
  if p.variant == "swin_block" then return swin.refuse(p) end
end

return {
  name = "agent_attention", family = "linear",
  paper = "Agent Attention: On the Integration of Softmax and Linear Attention",
  doc = "queries read a few agents that have read the keys, in four networks",
  reference = "LeapLabTHU/Agent-Attention, agent_{pvt,deit,swin}.py and agentsd",
  params = {
    variant = { "enum", { "pvt", "deit", "swin_block", "sd" }, "pvt", "whose attention" },
    dim = { "int", 64, "channels", min = 1 },
    num_heads = { "int", 2, "heads", min = 1 },
    agent_num = { "int", 49, "agents, a square", min = 1 },
    qkv_bias = { "bool", true, "bias of the projections" },
    H = { "int", 56, "rows of the map", min = 1 },
    W = { "int", 56, "columns of the map", min = 1 },
    sr_ratio = { "int", 1, "pvt: stride of the keys", min = 1 },
    window_size = { "int", 7, "swin_block: side of a window", min = 1 },
    shift_size = { "int", 0, "swin_block: how far the map is rolled", min = 0 },
    mlp_ratio = { "float", 4.0, "swin_block: hidden width over dim" },
    head_dim = { "int", function(p) return math.max(p.dim // p.num_heads, 1) end,
      "sd: channels of a head", min = 1 },
    sx = { "int", 4, "sd: columns of a cell, which has one destination", min = 1 },
    sy = { "int", 4, "sd: rows of a cell", min = 1 },
    ratio = { "float", 0.4, "sd: share of the tokens that is merged", min = 0 },
    agent_ratio = { "float", 0.95, "sd: the same for the agents", min = 0 },
    k_scale2 = { "float", 0.3, "sd: power of the second scale" },
    k_shortcut = { "float", 0.075, "sd: weight of the values in the result" },
  },
  dims = { B = 1 },
  refuse = refuse,
  inputs = function(p)
    return { x = p.variant == "deit" and "b=B n=H*W+1 c=dim" or "b=B n=H*W c=dim" }
  end,
  build = function(g, p, t)
    local function attend(z, pre, y, x) return attention(g, p, z, pre, { y = y, x = x }) end
    local out
    if p.variant == "sd" then
      out = diffusion(g, p, t.x)
    elseif p.variant == "swin_block" then
      out = swin.block(p, t.x, attend)
    else
      out = attend(t.x, "", p.H, p.W)
    end
    g:output("out", out, "b n c")
  end,
}
