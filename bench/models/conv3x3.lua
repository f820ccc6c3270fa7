-- SPDX-License-Identifier: Apache-2.0
local nn = require "lib.nn"
return {
  name = "conv3x3", doc = "convolution, 3 x 3, 64 to 64 channels",
  params = { c = { "int", 64, "channels", min = 1 } },
  dims = { B = 1, H = 56, W = 56 },
  inputs = function(p) return { x = "b=B c=c y=H x=W" } end,
  build = function(g, p, t)
    g:output("y", nn.conv(t.x, "conv", "c -> o", { k = 3, sizes = { o = p.c }, bias = false }), "b o y x")
  end,
}
