-- SPDX-License-Identifier: Apache-2.0
-- Pooling of the library against torch.
local nn = require "lib.nn"
return {
  name = "library_pool",
  inputs = { x = "b c y x", s = "b c t" },
  build = function(g, p, t)
    local function out(name, value, spec) g:output(name, value, spec or "b c y x") end
    out("max", nn.max_pool(t.x, "y x", { size = 2 }))
    out("max_pad", nn.max_pool(t.x, "y x", { size = 3, stride = 2, pad = 1 }))
    out("max_dilated", nn.max_pool(t.x, "y x", { size = { 2, 3 }, stride = 1, dilation = 2 }))
    out("max_ceil", nn.max_pool(t.x, "y x", { size = 3, stride = 2, pad = 1, ceil_mode = true }))
    out("avg", nn.avg_pool(t.x, "y x", { size = { 3, 2 }, stride = 2 }))
    out("avg_pad", nn.avg_pool(t.x, "y x", { size = 3, stride = 2, pad = 1 }))
    out("avg_inside", nn.avg_pool(t.x, "y x",
      { size = 3, stride = 2, pad = 1, count_include_pad = false }))
    out("avg_ceil", nn.avg_pool(t.x, "y x", { size = 3, stride = 2, pad = 1, ceil_mode = true }))
    out("avg_ceil_inside", nn.avg_pool(t.x, "y x",
      { size = 4, stride = 3, pad = 2, ceil_mode = true, count_include_pad = false }))
    out("avg_one", nn.avg_pool(t.s, "t", { size = 5, stride = 3, ceil_mode = true }), "b c t")
    out("adaptive_avg", nn.adaptive_avg_pool(t.x, "y x", { y = 4, x = 3 }))
    out("adaptive_max", nn.adaptive_max_pool(t.x, "y x", { y = 5, x = 7 }))
    out("adaptive_up", nn.adaptive_avg_pool(t.s, "t", 17), "b c t")
  end,
}
