-- SPDX-License-Identifier: Apache-2.0
-- Attention in groups, shifted for half of the heads (s2, as LongLoRA); with the wrapped group cut,
-- a share of the heads returned and the first tokens seen by all (sf); and decoding in a bounded
-- cache of heavy hitters and recent tokens.
local lap, nn = require "lap", require "lib.nn"

-- Whether token i sees key j. Shifted heads group by another place; in s2 this place also says what
-- is past, and the group that wraps stays one.
local function sees(p, head, i, j, N)
  local G, half = p.group_size or N / 4, p.num_heads // 2
  local function same(a, b) return (a // G):eq(b // G) end
  if p.variant == "s2" then
    local I, J = (i - G // 2) % N, (j - G // 2) % N
    return lap.where(head:ge(half), same(I, J) & J:le(I), same(i, j) & j:le(i))
  end
  local is_shifted = head:ge(half + math.floor(p.restore_ratio * half))
  local group = lap.where(is_shifted, same(i + G // 2, j + G // 2), same(i, j))
  return (group | j:lt(p.n_sink)) & j:le(i)
end

-- The prompt: dense causal attention, and what stays of it, in order of position: `slots` along s.
local function prefill(g, p, q, k, v, scale)
  local P, recent = p.prefill, p.recent_size
  local K, V = k:slice("n", 0, P):as "n -> s", v:slice("n", 0, P):as "n -> s"
  q = q:slice("n", 0, P)
  local a = g:attend { keys = "s", score = q:dot(K, "d") * scale, value = V,
    where = K:index "s":le(q:index "n") }
  local score = a.weights:sum "n"
  local place = g:full(0, "g", score) + g:index("s", P)
  if P > p.hh_size + recent then
    local heavy = score:slice("s", 0, P - recent):topk("s -> u", p.hh_size, { order = "position" }).index
    place = lap.cat("u", { heavy, g:index("u", recent) + (P - recent) }):as "u -> s"
    score, K, V = score:at("s", place), K:at("s", place), V:at("s", place)
  end
  return a.out, { place = place, score = score, K = K, V = V }
end

-- The other tokens one by one, in a cache of `size` slots; empty slots have the place -1 and stand
-- in front.
local function decode(g, p, q, k, v, slots, size, scale)
  local P, state = p.prefill, {}
  for name, a in pairs(slots) do
    state[name] = a:pad("s", size - a:size "s", 0, name == "place" and -1 or 0)
  end
  local function late(a) return a:slice("n", P, a:size "n" - P):as "n -> t" end
  local inputs = { q = late(q), k = late(k), v = late(v), at = g:index("t", q:size "n" - P) + P }
  return g:scan { along = "t", state = state, inputs = inputs, body = function(c, x)
    local function append(old, new) return lap.cat("s", { old, new:unit "s" }) end
    local place, K, V = append(c.place, x.at), append(c.K, x.k), append(c.V, x.v)
    local a = g:attend { keys = "s", score = x.q:dot(K, "d") * scale, value = V, where = place:ge(0) }
    local score = append(c.score, g:number(0.0)) + a.weights
    -- one slot goes: an empty one, else the lightest that is not recent
    local is_old = place:index "s":le(size - p.recent_size)
    local drop = lap.where(place:lt(0), -1, lap.where(is_old, score, math.huge)):argmin "s"
    local kept = g:index("s", size)
    kept = lap.where(kept:lt(drop), kept, kept + 1)
    local function rest(y) return y:at("s", kept) end
    return { place = rest(place), score = rest(score), K = rest(K), V = rest(V) }, { out = a.out }
  end }
end
local function heavy_hitters(g, p, q, k, v, scale)
  local first, slots = prefill(g, p, q, k, v, scale)
  g:output("kept_prefill", slots.place, "g s")
  local size = lap.dim.min(p.hh_size + p.recent_size, q:size "n")
  local run = decode(g, p, q, k, v, slots, size, scale)
  g:output("kept", run.last_place, "g s")
  g:output("score", run.last_score, "g s")
  return lap.cat("n", { first, run.out:as "t -> n" })
end

local function refuse(p)
  if p.num_heads % p.num_kv_heads ~= 0 then return "num_kv_heads must divide num_heads" end
  if p.head_dim % 2 ~= 0 then return "head_dim must be even" end
  if p.variant == "h2o" then
    if p.num_heads ~= p.num_kv_heads then return "h2o needs num_kv_heads = num_heads" end
    for _, name in ipairs { "hh_size", "recent_size", "prefill" } do
      if p[name] < 1 then return name .. " must be at least 1" end
    end
    return
  end
  if p.num_heads % 2 ~= 0 then return "num_heads must be even" end
  if p.group_size and (p.group_size < 2 or p.group_size % 2 ~= 0) then
    return "group_size must be even, 2 or more"
  end
end

return {
  name = "sinklora", family = "sparse",
  doc = "grouped attention with shifted heads and sinks; heavy-hitter decoding",
  paper = "SinkLoRA: Enhanced Efficiency and Chat Capabilities for Long-Context Large Language Models",
  reference = "s2: LongLoRA (Apache-2.0); h2o: FMInference/H2O; sf: equations",
  params = {
    variant = { "enum", { "sf", "s2", "h2o" }, "sf",
      "sink-fixed groups, shifted groups, or bounded decoding" },
    hidden_size = { "int", 1024, "channels", min = 1 },
    num_heads = { "int", 8, "query heads", min = 1 },
    num_kv_heads = { "int", function(p) return p.num_heads end, "key heads", min = 1 },
    head_dim = { "int", function(p) return p.hidden_size // p.num_heads end,
      "width of a head, even", min = 2 },
    rope_theta = { "float", 1e4, "base of the rotary embedding" },
    group_size = { "int?", nil, "sf, s2: tokens of a group, even; a quarter of them unless given" },
    n_sink = { "int", 4, "sf: first tokens that all see", min = 0 },
    restore_ratio = { "float", 0.5, "sf: share of the shifted heads that return", min = 0, max = 1 },
    hh_size = { "int", 256, "h2o: heavy hitters in the cache" },
    recent_size = { "int", 256, "h2o: recent tokens in the cache" },
    prefill = { "int", 1024, "h2o: tokens of the prompt" },
  },
  dims = { B = 1, N = 4096 },
  refuse = refuse,
  inputs = function(p) return { x = p.variant == "h2o" and "1 n c=hidden_size" or "b n c=hidden_size" } end,
  build = function(g, p, t)
    local N = t.x:size "n"
    local sizes = { g = p.num_kv_heads, r = p.num_heads // p.num_kv_heads, d = p.head_dim, c = p.hidden_size }
    local function project(name, to) return nn.linear(t.x, name, "c -> " .. to, sizes, { bias = false }) end
    local function rotary(a) return nn.rope(a, a:index "n", p.rope_theta) end
    local q, k = rotary(project("q_proj", "(g r d)")), rotary(project("k_proj", "(g d)"))
    local v = project("v_proj", "(g d)")
    local scale, o = p.head_dim ^ -0.5, nil
    if p.variant == "h2o" then
      g:require(g:number(N):ge(p.prefill), "prefill exceeds the tokens of x")
      o = heavy_hitters(g, p, q:at("r", 0), k, v, scale):unit "r"
    else
      g:require((g:number(N) % (p.group_size or 8)):eq(0), "the tokens of x must fill groups of even size")
      if p.variant == "sf" then g:require(g:number(N):ge(p.n_sink), "n_sink exceeds the tokens of x") end
      local K = k:as "n -> j"
      local where = sees(p, q:index "g" * sizes.r + q:index "r", q:index "n", K:index "j", N)
      o = g:attend { keys = "j", score = q:dot(K, "d") * scale, value = v:as "n -> j", where = where }.out
    end
    local y = nn.linear(o, "o_proj", "(g r d) -> c", sizes, { bias = false })
    g:output("out", y, p.variant == "h2o" and "1 n c" or "b n c")
  end,
}
