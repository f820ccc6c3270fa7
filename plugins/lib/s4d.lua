-- SPDX-License-Identifier: Apache-2.0
-- s4d.lua: a diagonal state space of complex states, as a scan over the tokens. Complex numbers are
-- pairs { re, im } of values.
local nn = require "lib.nn"
local s4d = {}

local function mul(a, b) return { a[1] * b[1] - a[2] * b[2], a[1] * b[2] + a[2] * b[1] } end
local function exp(a)
  local r = a[1]:exp()
  return { r * a[2]:cos(), r * a[2]:sin() }
end
local function inverse(a)
  local n = a[1] * a[1] + a[2] * a[2]
  return { a[1] / n, -a[2] / n }
end

-- y[n] = 2 Re sum over states of c S[n], with S[n] = sum of a^(n-j) x[j] over the tokens up to n; or,
-- is_ahead, of a^(j-n-1) x[j] over those behind it. x [b n c], a [c w], c [h c w].
local function scan(g, x, a, c, is_ahead)
  local zero = g:zeros("b w c", x, a[1])
  return g:scan { along = "n", reverse = is_ahead, state = { re = zero, im = zero }, inputs = { x = x },
    body = function(S, t)
      local next = mul({ S.re, S.im }, a)
      next[1] = next[1] + t.x
      local out = is_ahead and { S.re, S.im } or next
      return { re = next[1], im = next[2] }, { y = 2 * mul(out, c)[1]:sum "w" }
    end }.y
end

-- x [b n c] -> the same, with p.num_heads kernels per channel, c = C (exp(lambda dt) - 1)/lambda and
-- a = exp(lambda dt); p.bidirectional: as many look ahead.
function s4d.layer(g, p, x)
  local C = x:size "c"
  local s = { dir = p.bidirectional and 2 or 1, h = p.num_heads, c = C, w = p.d_state // 2, ri = 2 }
  local function w(name, spec) return g:weight("kernel.kernel." .. name, spec, s) end
  local lambda, dt = { -w("log_w_real", "1 w"):exp(), w("w_imag", "1 w") }, w("log_dt", "c"):exp()
  local a = exp { lambda[1] * dt, lambda[2] * dt }
  local re, im = w("C", "(dir h) c w ri"):unstack "ri"
  local c = mul(mul({ a[1] - 1, a[2] }, { re, im }), inverse(lambda))
  local y = scan(g, x, a, { c[1]:at("dir", 0), c[2]:at("dir", 0) })
  if p.bidirectional then y = y + scan(g, x, a, { c[1]:at("dir", 1), c[2]:at("dir", 1) }, true) end
  y = nn.gelu(y + g:weight("D", "h c", s) * x)
  return nn.linear(y, "output_linear", "(h c) -> o", { o = C }):as "o -> c"
end

return s4d
