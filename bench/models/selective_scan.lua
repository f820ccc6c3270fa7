-- SPDX-License-Identifier: Apache-2.0
-- The scan of a state space model: h = exp(delta A) h + delta u B, y = sum_n h C.
return {
  name = "selective_scan", doc = "selective scan over n states per channel",
  dims = { B = 1, T = 1600, D = 128 },
  inputs = { u = "b=B t=T d=D", delta = "b=B t=T d=D", A = "n=16 d=D", Bt = "b=B t=T n=16",
    C = "b=B t=T n=16" },
  build = function(g, p, x)
    local y = g:scan {
      along = "t", state = { h = g:zeros("b d n", x.u, x.A) },
      inputs = { decay = (x.delta * x.A):exp(), add = x.delta * x.u * x.Bt, C = x.C },
      body = function(s, i)
        local h = i.decay * s.h + i.add
        return { h = h }, { y = h:dot(i.C, "n") }
      end,
    }.y
    g:output("y", y, "b t d")
  end,
}
