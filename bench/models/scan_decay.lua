-- SPDX-License-Identifier: Apache-2.0
-- A recurrence per channel with a decay that comes from data: h = a h + x.
return {
  name = "scan_decay", doc = "a decayed sum along n, channels apart",
  
  dims = { B = 1, N = 4096, C = 768 },
  inputs = function() return { x = "b=B n=N c=C", a = "b=B n=N c=C" } end,
  build = function(g, p, t)
    local y = g:scan { along = "n", state = { h = g:zeros("b c", t.x) }, inputs = { x = t.x, a = t.a },
      body = function(s, i)
        local h = i.a:sigmoid() * s.h + i.x
        return { h = h }, { y = h }
      end }.y
    g:output("y", y, "b n c")
  end,
}
