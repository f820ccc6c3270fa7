-- SPDX-License-Identifier: Apache-2.0
-- Class semantics R over time gate the channels and the time steps of the features F; the two gated
-- copies are fused.
local lap, nn = require "lap", require "lib.nn"

local fuse = {}
function fuse.add(Fc, Ft) return Fc + Ft end
function fuse.max(Fc, Ft) return Fc:atleast(Ft) end
function fuse.concat(Fc, Ft)
  local both, o = lap.stack("which", { Fc, Ft }), { o = Fc:size "c" }
  return nn.linear(both, "fuse", "(which c) -> o", o, { tail = "1" }):as "o -> c"
end

return {
  name = "csa", paper = "Class Semantics-based Attention for Action Detection",
  family = "gated", doc = "gates of channels and time steps from class semantics",
  reference = "equations; no code found",
  params = {
    r_dim = { "int", 400, "channels of R", min = 1 },
    dim = { "int", 256, "channels of F", min = 1 },
    hidden = { "int", 64, "hidden channels of both branches", min = 1 },
    kernel_size = { "int", 3, "taps over time, odd", min = 1 },
    fuse = { "enum", { "add", "max", "concat" }, "add", "how the gated copies are joined" },
    softmax_r = { "bool", false, "R are logits of classes" },
    se = { "bool", false, "squeeze-excite on F first" },
    se_reduction = { "int", 4, "its reduction", min = 1 },
  },
  dims = { B = 1, T = 100 },
  refuse = function(p)
    if p.kernel_size % 2 == 0 then return "kernel_size must be odd" end
    if p.se and p.se_reduction > p.dim then return "se_reduction leaves no channel of dim" end
  end,
  inputs = { r = "b=B k=r_dim t=T", f = "b=B c=dim t=T" },
  build = function(g, p, t)
    local F, R = t.f, t.r
    if p.se then
      local width = p.dim // p.se_reduction
      F = F * nn.squeeze_excite(F, "t", "se.fc1", "se.fc2", "c -> r", width):sigmoid()
    end
    if p.softmax_r then R = R:softmax "k" end
    local function hidden(name)
      local o = { along = "t", k = p.kernel_size, sizes = { m = p.hidden } }
      return nn.relu(nn.conv(R, name, "k -> m", o))
    end
    local h = hidden "channel.conv":mean "t"
    local a_channel = nn.linear(h, "channel.fc", "m -> c", { c = p.dim }):sigmoid()
    local u = hidden "temporal.conv"
    local a_time = nn.linear(u, "temporal.out", "m -> 1", nil, { tail = "1" }):sigmoid()
    g:output("y", fuse[p.fuse](F * a_channel, F * a_time), "b c t")
    g:output("a_channel", a_channel, "b c")
    g:output("a_time", a_time, "b t")
  end,
}
