-- SPDX-License-Identifier: Apache-2.0
-- Interpolation, sampling and padding of the library against torch.
local nn, lap = require "lib.nn", require "lap"
return {
  name = "library_resize",
  inputs = { x = "b c y x", s = "b c t", at = "b v u two=2" },
  build = function(g, p, t)
    local function out(name, value, spec) g:output(name, value, spec or "b c y x") end
    local big, small = { y = 13, x = 17 }, { y = 3, x = 4 }
    out("nearest_up", nn.resize(t.x, "y x", big))
    out("nearest_down", nn.resize(t.x, "y x", small))
    out("linear_up", nn.resize(t.x, "y x", big, { mode = "linear" }))
    out("linear_down", nn.resize(t.x, "y x", small, { mode = "linear" }))
    out("corners_up", nn.resize(t.x, "y x", big, { mode = "linear", align_corners = true }))
    out("corners_one", nn.resize(t.s, "t", { t = 1 }, { mode = "linear", align_corners = true }),
      "b c t")
    out("linear_one", nn.resize(t.s, "t", { t = 23 }, { mode = "linear" }), "b c t")
    local px, py = t.at:unstack "two"
    local H, W = t.x:size "y", t.x:size "x"
    out("sampled", nn.bilinear(t.x, (py + 1) * (H - 1) / 2, (px + 1) * (W - 1) / 2), "b c v u")
    local sides = { y = { 2, 1 }, x = { 0, 3 } }
    out("constant", nn.pad(t.x, sides, "constant", 0.5))
    for _, mode in ipairs { "reflect", "replicate", "circular" } do
      out(mode, nn.pad(t.x, sides, mode))
    end
    out("rolled", t.x:roll("y", 2):roll("x", -3))
  end,
}
