-- SPDX-License-Identifier: Apache-2.0
-- landmark.lua: attention through a few summaries of the tokens. q [b n h d], k and v [b j h d].
local lap = require "lap"
local landmark = {}

-- Means of m consecutive segments, the longer ones last; of the tokens themselves if they are fewer.
-- spec "n -> l"
function landmark.means(x, spec, m)
  local g, axis, new = x.g, spec:match "(%S+)%s*%->%s*(%S+)"
  local N, w = x:size(axis), lap.axis "in_segment"
  m = lap.dim.min(m, N)
  local short, s = N // m, g:index(new, m)
  local n_short = m - N % m
  local length = short + s:ge(n_short):int()
  local first = short * s + (s - n_short):atleast(0)
  return x:at(axis, first + g:index(w, short + 1):ragged(w, length)):mean(w)
end

-- softmax(q K^T) Z softmax(Q k^T) v with the pseudo-inverse Z of softmax(Q K^T) by six iterations;
-- exact when there are no more tokens than landmarks.
function landmark.nystrom(g, p, q, k, v)
  local m, scale = p.num_landmarks, g:number(q:size "d") ^ -0.5
  q, k = q * scale, k * scale
  local function exact()
    return g:attend { keys = "j", score = q:dot(k, "d"), value = v }.out
  end
  local function approximate()
    local Q, K = landmark.means(q, "n -> l", m), landmark.means(k, "j -> u", m)
    local A = Q:dot(K, "d"):softmax "u"
    local eye = A:index "l":eq(g:index("r", A:size "l")):int()
    local function mul(a, b) return a:as "r -> s":dot(b:as "l -> s", "s") end    -- both [l r]
    local Z = g:loop { limit = 6, state = { Z = A / A:sum "l":max "b h u" }, body = function(s)
      local T = A:dot(s.Z:as "l -> r", "u")
      local X = 13 * eye - mul(T, 15 * eye - mul(T, 7 * eye - T))
      return { Z = 0.25 * s.Z:dot(X, "l"):as "r -> l" }
    end }.Z
    local inner = g:attend { keys = "j", score = Q:dot(k, "d"), value = v }.out
    return g:attend { keys = "u", score = q:dot(K, "d"), value = Z:dot(inner, "l") }.out
  end
  local y = g:branch(g:number(q:size "n"):le(m), exact, approximate)
  if p.conv_kernel == 0 then return y end
  local near = v:window("j -> n w", { size = p.conv_kernel, pad = p.conv_kernel // 2 })
  local s = { h = p.num_heads, w = p.conv_kernel }
  return y + near:dot(g:weight("conv.weight", "h 1 w 1", s), "w")
end

-- Importance weights over landmarks mu, in log space.
function landmark.lara(g, p, q, k, v)
  local s, m = g:number(q:size "d") ^ -0.5, p.num_landmarks
  local mu = landmark.means(q, "n -> l", m) + landmark.means(k, "j -> l", m)
  local function half(x) return s * (x * x):sum "d" / 2 end
  local kv = g:attend { keys = "j", score = s * mu:dot(k, "d") - half(k), value = v }
  local near = 2 * s * mu:dot(q, "d") - half(q)
  return g:attend { keys = "l", score = near + kv.lse - half(mu), value = kv.out }.out
end

-- The causal memory of p.num_landmarks slots, token by token: a slot is the softmax sum of the tokens so
-- far (cumulative, as in its paper), or only what the newest token adds to it (as released).
-- x = { k = [b n h d], v = }, a: their logits [b n h r].
local function causal_abc(g, p, q, x, a)
  local state, inputs = {}, { q = q, k = x.k, v = x.v, a_k = a.k, a_v = a.v }
  for _, name in ipairs { "k", "v" } do
    local logits = a[name]
    local zero = g:zeros("b h r", logits)
    state["max_" .. name], state["sum_" .. name] = zero - math.huge, zero
    if p.cumulative then state["slots_" .. name] = g:zeros("b h r d", logits, q) end
  end
  local function fold(S, t, name, after)
    local top = S["max_" .. name]:atleast(t["a_" .. name])
    local old, new = (S["max_" .. name] - top):exp(), (t["a_" .. name] - top):exp()
    local sum = S["sum_" .. name] * old + new
    after["max_" .. name], after["sum_" .. name] = top, sum
    if not p.cumulative then return new / sum * t[name] end
    local slots = S["slots_" .. name] * old + new * t[name]
    after["slots_" .. name] = slots
    return slots / sum
  end
  return g:scan { along = "n", state = state, inputs = inputs, body = function(S, t)
    local after = {}
    local K, V = fold(S, t, "k", after), fold(S, t, "v", after)
    local score = t.q:dot(K, "d") * g:number(q:size "d") ^ -0.5
    return after, { y = score:softmax "r":dot(V, "r") }
  end }.y
end
function landmark.abc(g, p, q, k, v)
  local s = { d = q:size "d", r = p.num_landmarks }
  local a = k:dot(g:weight("compress_k", "d r", s), "d")
  local b = v:dot(g:weight("compress_v", "d r", s), "d")
  if p.causal and not p.cross then
    local function by_query(x) return x:as "j -> n" end
    return causal_abc(g, p, q, { k = by_query(k), v = by_query(v) }, { k = by_query(a), v = by_query(b) })
  end
  local K = g:attend { keys = "j", score = a, value = k }.out
  local V = g:attend { keys = "j", score = b, value = v }.out
  return g:attend { keys = "r", score = q:dot(K, "d") * g:number(s.d) ^ -0.5, value = V }.out
end

return landmark
