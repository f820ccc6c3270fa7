-- SPDX-License-Identifier: Apache-2.0
-- A channel gate from positions pooled by a softmax, and a spatial gate from a pooled query over
-- channels; as in the released code, or as in the paper's equations.
local nn = require "lib.nn"

-- sum over the positions p of v[p] softmax_p(q[p])
local function pooled(g, q, v) return g:attend { keys = "y x", score = q, value = v }.out end

local code, paper = {}, {}

local function plain(t, name, spec, s) return nn.conv1x1(t, name, spec, s, { bias = false }) end
function code.channel(g, p, t, s)
  local z = pooled(g, plain(t, "conv_q_right", "c -> 1", s), plain(t, "conv_v_right", "c -> e", s))
  if p.layout == "parallel" then return plain(z, "conv_up", "e -> c", s):sigmoid() end
  z = nn.conv1x1(z, "conv_up.0", "e -> r", s)
  z = nn.layernorm(z, nil, "r") * g:weight("conv_up.1.weight", "r 1 1", s)
    + g:weight("conv_up.1.bias", "r 1 1", s)
  return nn.conv1x1(nn.relu(z), "conv_up.3", "r -> c", s):sigmoid()
end
function code.spatial(_, p, t, s)
  local q = plain(t, "conv_q_left", "c -> e", s):mean "y x"
  local v = plain(t, "conv_v_left", "c -> e", s)
  if p.layout == "parallel" then return q:dot(v, "e"):softmax "y x":sigmoid() end
  return q:dot(v:softmax "y x", "e"):sigmoid()
end

function paper.channel(g, _, t, s)
  local z = pooled(g, nn.conv1x1(t, "ch_wq", "c -> 1", s), nn.conv1x1(t, "ch_wv", "c -> e", s))
  return nn.layernorm(nn.conv1x1(z, "ch_wz", "e -> c", s), "ln", "c"):sigmoid()
end
function paper.spatial(_, _, t, s)
  local q = nn.conv1x1(t, "sp_wq", "c -> e", s):mean "y x":softmax "e"
  return q:dot(nn.conv1x1(t, "sp_wv", "c -> e", s), "e"):sigmoid()
end

return {
  name = "polarized_attention", family = "gated",
  doc = "a channel gate and a spatial gate, each at full resolution of its own axis",
  paper = "Polarized Self-Attention: Towards High-quality Pixel-wise Regression",
  reference = "DeLightCMU/PSA, PSA_p and PSA_s (Apache-2.0); form paper: the equations",
  params = {
    dim = { "int", 256, "channels", min = 2 },
    layout = { "enum", { "parallel", "sequential" }, "parallel", "how the gates are joined" },
    form = { "enum", { "code", "paper" }, "code", "the released modules or the equations" },
  },
  dims = { B = 1, H = 64, W = 48 },
  refuse = function(p)
    if p.form == "code" and p.layout == "sequential" and p.dim < 8 then
      return "dim must be at least 8 in the sequential layout of the code"
    end
  end,
  inputs = { x = "b=B c=dim y=H x=W" },
  build = function(g, p, t)
    local form, x, y = p.form == "code" and code or paper, t.x, nil
    local s = { c = p.dim, e = p.dim // 2, r = p.dim // 8 }
    local mask_ch, mask_sp = form.channel(g, p, x, s), nil
    if p.layout == "parallel" then
      mask_sp = form.spatial(g, p, x, s)
      y = x * mask_ch + x * mask_sp
    else
      local m = x * mask_ch                        -- what the spatial gate sees
      mask_sp = form.spatial(g, p, m, s)
      y = m * mask_sp
    end
    g:output("y", y, "b c y x")
    g:output("mask_ch", mask_ch, "b c 1 1")
    g:output("mask_sp", mask_sp, "b 1 y x")
  end,
}
