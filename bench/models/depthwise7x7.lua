-- SPDX-License-Identifier: Apache-2.0
local nn = require "lib.nn"
return {
  name = "depthwise7x7", doc = "depthwise convolution, 7 x 7",
  params = { c = { "int", 96, "channels", min = 1 } },
  dims = { B = 1, H = 56, W = 56 },
  inputs = function(p) return { x = "b=B c=c y=H x=W" } end,
  build = function(g, p, t)
    g:output("y", nn.depthwise(t.x, "conv", "c", { k = 7, bias = false }), "b c y x")
  end,
}
