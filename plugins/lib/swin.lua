-- SPDX-License-Identifier: Apache-2.0
-- swin.lua: the frame of a Swin block on p.H x p.W tokens n: norm, roll, windows, attention inside
-- them, back; then an MLP. There is no mask: tokens that wrap around do mix. p: dim, window_size,
-- shift_size, mlp_ratio.
local nn, window = require "lib.nn", require "lib.window"
local swin = {}

local function shape(p)                            -- side and shift: one window where the map has no more
  local least = math.min(p.H, p.W)
  if least <= p.window_size then return least, 0 end
  return p.window_size, p.shift_size
end
function swin.refuse(p)
  local side, shift = shape(p)
  if p.H % side ~= 0 or p.W % side ~= 0 then return "H and W must be multiples of window_size" end
  if shift >= side then return "shift_size must be less than window_size" end
  if p.dim * p.mlp_ratio < 1 then return "mlp_ratio leaves no hidden channel" end
end

-- attend(z, "attn.", h, w) -> like z: z [.. n c] the h x w tokens of each window.
function swin.block(p, x, attend)
  local side, shift = shape(p)
  local map = nn.layernorm(x, "norm1", "c"):split("n -> y x", { y = p.H, x = p.W })
  local z = window.cut(map, "y x", side, { shift = shift }):merge "y x -> n"
  local o = attend(z, "attn.", side, side):split("n -> y x", { y = side, x = side })
  x = x + window.join(o, "y x", map, { shift = shift }):merge "y x -> n"
  return x + nn.mlp(nn.layernorm(x, "norm2", "c"), "mlp.fc1", "mlp.fc2", math.floor(p.dim * p.mlp_ratio))
end

return swin
