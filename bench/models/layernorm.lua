-- SPDX-License-Identifier: Apache-2.0
-- Layer norm over rows of an array larger than the caches: a pass over memory.
local nn = require "lib.nn"
return {
  name = "layernorm", doc = "layer norm of each row",
  dims = { N = 131072, C = 768 },
  inputs = { x = "n=N c=C" },
  build = function(g, p, t) g:output("y", nn.layernorm(t.x, "norm", "c"), "n c") end,
}
