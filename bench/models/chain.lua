-- SPDX-License-Identifier: Apache-2.0
-- A chain of elementwise functions on an array larger than the caches: a pass over memory.
return {
  name = "chain", doc = "y = silu(a x + b) + x",
  dims = { N = 131072, C = 768 },
  inputs = { x = "n=N c=C", a = "c=C", b = "c=C" },
  build = function(g, p, t)
    local z = t.a * t.x + t.b
    g:output("y", z * z:sigmoid() + t.x, "n c")
  end,
}
