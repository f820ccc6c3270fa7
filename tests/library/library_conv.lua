-- SPDX-License-Identifier: Apache-2.0
-- Convolutions of the library against torch, on one to three grid axes.
local nn = require "lib.nn"
return {
  name = "library_conv",
  inputs = { x = "b c y x", s = "b c t", v = "b c z y x" },
  build = function(g, p, t)
    local function out(name, value, spec) g:output(name, value, spec) end
    out("plain", nn.conv(t.x, "plain", "c -> m", { k = 3, sizes = { m = 6 } }), "b m y x")
    out("square", nn.conv(t.x, "square", "c -> c", { k = { 3, 5 }, bias = false }), "b c y x")
    out("strided", nn.conv(t.x, "strided", "c -> m",
      { k = 3, stride = { 2, 3 }, pad = { 1, 0 }, dilation = { 1, 2 }, sizes = { m = 5 } }),
      "b m y x")
    out("depthwise", nn.depthwise(t.x, "depthwise", "c", { k = 3, stride = 2 }), "b c y x")
    local parts = t.x:split("c -> g e", { g = 2 })
    out("grouped", nn.conv(parts, "grouped", "e -> f", { groups = "g", k = 3, sizes = { f = 3 } }),
      "b (g f) y x")
    out("one", nn.conv(t.s, "one", "c -> m", { along = "t", k = 4, pad = 0, sizes = { m = 3 } }),
      "b m t")
    out("three", nn.conv(t.v, "three", "c -> m",
      { along = "z y x", k = { 1, 3, 3 }, stride = { 1, 2, 1 }, sizes = { m = 3 } }), "b m z y x")
    out("up", nn.conv_transpose(t.x, "up", "c -> m",
      { k = 3, stride = 2, pad = 1, output_pad = 1, sizes = { m = 5 } }), "b m y x")
    out("up_grouped", nn.conv_transpose(parts, "up_grouped", "e -> f",
      { groups = "g", k = { 2, 3 }, stride = { 2, 1 }, dilation = { 1, 2 }, sizes = { f = 3 } }),
      "b (g f) y x")
    out("up_one", nn.conv_transpose(t.s, "up_one", "c -> c", { along = "t", k = 4, stride = 3 }),
      "b c t")
  end,
}
