-- SPDX-License-Identifier: Apache-2.0
-- long_short.lua: long-short attention: summaries of the far tokens and a window of near ones under
-- one softmax. x [b n c] -> the same.
local lap, nn = require "lap", require "lib.nn"
local long_short, plain = {}, { bias = false }

-- The near keys of a token: its block of W tokens and half a block to either side.
function long_short.noncausal(g, p, x)
  local W, N, C = p.window_size, x:size "n", x:size "c"
  local s = { h = p.num_heads, d = C / p.num_heads, l = p.num_landmarks }
  local q = nn.linear(x, "W_q", "c -> (h d)", s) * g:number(s.d) ^ -0.5
  local y = x:as "n -> j"
  local a = nn.linear(y, "dconv_fc", "c -> (h l)", s)
  local function side(name)                        -- the tokens, and their l summaries per head
    local k = nn.layernorm(nn.linear(y, name, "c -> (h d)", s), "dual_ln_l", "h d")
    return k, nn.layernorm(g:attend { keys = "j", score = a, value = k }.out, "dual_ln_s", "h d")
  end
  local k, K = side "W_k"
  local v, V = side "W_v"
  local e = math.max(W // 2, 1)
  local at = x:index "n" // W * W - e + g:index("z", W + 2 * e)
  local o = g:attend { parts = {
    { keys = "l", score = q:dot(K, "d"), value = V },
    { keys = "z", score = q:dot(k:at({ j = at }, 0), "d"), value = v:at({ j = at }, 0),
      where = at:ge(0) & at:lt(N) },
  } }.out
  return nn.linear(o, "W_o", "(h d) -> c", { c = C })
end

local function sinusoid(pos, C)                    -- [c]: sines, then cosines
  local angle = pos * (pos.g:index("i", C / 2) * (-2 * math.log(10000)) / C):exp()
  return lap.stack("half", { angle:sin(), angle:cos() }):merge "half i -> c"
end

-- Chunks of S tokens give R summaries each, seen by later chunks; the window is W keys that end at the
-- query, those before the first token not masked; both with relative positions.
function long_short.causal(g, p, x)
  local S, W, R, N, C = p.chunk_size, p.window_size, p.chunk_rank, x:size "n", x:size "c"
  local s = { h = p.num_heads, d = C / p.num_heads, r = R }
  local n = g:number(N)
  g:require((n % S):ne(0) | n:le(W) | (n % W):eq(0), "window_size must divide the length of query")
  g:require(g:number(C % 2):eq(0), "the channels of query must be even")
  local q = nn.linear(x, "proj_query", "c -> (h d)", s, plain) * g:number(s.d) ^ -0.5
  local y, i = x:as "n -> j", x:index "n"
  local chunk = g:index("a", lap.dim.ceil(N, S)) * S + g:index("in_chunk", S)
  local a = nn.linear(y, "dconv_1", "c -> (h r)", s):at({ j = chunk }, 0)
  local mem, z = p.mem_len // S * R, g:index("z", W)
  local function side(name)                        -- window rows, and the summaries behind mem zeros
    local k = nn.linear(y, name, "c -> (h d)", s, plain)
    local near = nn.layernorm(k:pad("j", W - 1, 0), "dual_ln_win", "h d"):at("j", i + z)
    local far = g:attend { keys = "in_chunk", score = a, value = k:at({ j = chunk }, 0) }.out
    return near, nn.layernorm(far:merge "a r -> u":pad("u", mem, 0), "dual_ln_dproj", "h d")
  end
  local k, K = side "proj_key"
  local v, V = side "proj_val"
  local rel = nn.linear(sinusoid(W - 1 - z, C), "r_net", "c -> (h d)", s, plain)
  local near = (q + g:weight("r_w_bias", "1 h 1 1 d", s)):dot(k, "d")
    + (q + g:weight("r_r_bias", "1 h 1 d", s)):dot(rel, "d")
  local back = mem + i // S * R - 1 - K:index "u"                   -- visible summaries behind it
  local pos = nn.linear(sinusoid(g:index("t", K:size "u"), C), "r_net_chunk", "c -> (h d)", s)
  local far = q:dot(K, "d") + q:dot(pos, "d"):at("t", back:atleast(0))
  local o = g:attend { parts = {
    { keys = "u", score = far, value = V, where = back:ge(0) },
    { keys = "z", score = near, value = v },
  } }.out
  return nn.linear(o, "proj_out", "(h d) -> c", { c = C }, plain)
end

return long_short
