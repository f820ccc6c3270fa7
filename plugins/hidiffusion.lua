-- SPDX-License-Identifier: Apache-2.0
-- Diffusion above the training resolution: self-attention in four large windows, shifted anew in every
-- step; and a U-Net whose deep maps are brought to their training size in the first steps.
local lap, nn, diffusers = require "lap", require "lib.nn", require "lib.diffusers"
local dim = lap.dim

local function cubic(x, H, W) return nn.resize(x, "y x", { y = H, x = W }, { mode = "cubic" }) end

-- Self-attention in 2 x 2 rolled windows; an odd map is resized to an even one and back.
local function window_attention(g, p, z)
  local H, W = z:size "y", z:size "x"
  local h, w = dim.ceil(H, 2), dim.ceil(W, 2)
  local j = p.rand <= 0.25 and 0 or p.rand <= 0.5 and 1 or p.rand <= 0.75 and 2 or 3
  local sy = g:number(h // 4 * j)
  local sx = lap.where(sy:eq(0), 0, w // 4 * j)    -- the code's quirk
  z = cubic(z, 2 * h, 2 * w):roll("y", -sy):roll("x", -sx)
  z = z:split("y -> Y y", { Y = 2 }):split("x -> X x", { X = 2 })
  z = diffusers.attention(z, z:as "y x -> u v", "u v", "attn1.", { heads = p.num_heads })
  z = z:merge "Y y -> y":merge "X x -> x":roll("y", sy):roll("x", sx)
  return cubic(z, H, W)
end

-- The map is the latent divided by rho = round(sqrt(latent_h*latent_w/N)), rounded up; the layout of x
-- has solved its sides from N, here the rule is checked.
local function check_map(g, p, x)
  local H, W = x:size "y", x:size "x"
  local rho = (g:number(p.latent_h * p.latent_w) / g:number(H * W)):sqrt():round():int()
  local function side(n) return (rho + (n - 1)) // rho end
  g:require(side(p.latent_h):eq(H) & side(p.latent_w):eq(W),
    "the tokens of x are no map of latent_h x latent_w divided by the rounded ratio")
end

local part = {}

function part.msw_msa(g, p, t)
  local x = t.x
  g:require(g:number(x:size "c" % p.num_heads):eq(0), "num_heads must divide the channels of x")
  check_map(g, p, x)
  x = x + window_attention(g, p, nn.layernorm(x, "norm1", "c"))
  local z = nn.layernorm(x, "norm2", "c")
  x = x + diffusers.attention(z, t.context, "m", "attn2.", { heads = p.num_heads, from = "e" })
  g:output("y", x + diffusers.geglu(nn.layernorm(x, "norm3", "c"), "ff.", p.ff_mult), "b (y x) c")
end

-- Which of the two changes are active in a step: the dilated stride (RAD), the pooling (POOL).
local function schedule(p, step)
  local T = p.num_steps
  if p.aggressive then
    local rad = step < math.floor(p.aggressive_step / 50 * T)
    return rad, not rad and step < math.floor(T * p.block_ratio)
  end
  return step < math.floor(T * p.conv_ratio), step < math.floor(T * p.block_ratio)
end

local function unet_step(p, x, step)
  local is_rad, is_pooled = schedule(p, step)
  local C = dim.symbol "C"                         -- from the weights
  local function conv(z, name, o)
    local full = { k = 3, pad = 1, sizes = { c = C } }
    for key, v in pairs(o or {}) do full[key] = v end
    return nn.conv(z, name, "c -> c", full)
  end
  local function up(z, like) return nn.resize(z, "y x", { y = like:size "y", x = like:size "x" }) end
  local function join(name, a, b) return conv(lap.cat("c", { a, b }), name) end
  local down = { stride = 2 }

  local e = nn.silu(conv(x, "enc.conv"))
  local h0 = conv(e, "rad", is_rad and { stride = 4, pad = 2, dilation = 2 } or down)
  local d0 = nn.silu(conv(h0, "down.resnets.0.conv"))
  if is_pooled then d0 = nn.avg_pool(d0, "y x", { size = 2, ceil_mode = true }) end
  local d1 = nn.silu(conv(d0, "down.resnets.1.conv"))
  local mid = conv(d1, "down.downsamplers.0", down)
  local u = conv(up(mid, d1), "us")
  u = nn.silu(join("up.resnets.0.conv", u, d1))
  u = nn.silu(join("up.resnets.1.conv", u, d0))
  if is_pooled then u = cubic(u, h0:size "y", h0:size "x") end
  u = nn.silu(join("up.resnets.2.conv", u, h0))
  u = conv(up(u, e), "rau")
  return conv(lap.cat("c", { u, e }), "out", { sizes = { c = x:size "c" } }), mid
end

function part.raunet(g, p, t)
  for _, axis in ipairs { "y", "x" } do
    g:require(g:number(t.x:size(axis)):ge(1), "the map of x is empty")
  end
  local out, sizes = {}, {}
  for i, step in ipairs(p.steps) do
    local y, mid = unet_step(p, t.x, step)
    out[i], sizes[i] = y, lap.stack("side", { g:number(mid:size "y"), g:number(mid:size "x") })
  end
  g:output("y", lap.stack("s", out), "s b c y x")
  g:output("mid_size", lap.stack("s", sizes), "s side")
end

return {
  name = "hidiffusion", family = "window",
  paper = "HiDiffusion: Unlocking Higher-Resolution Creativity and Efficiency in Pretrained Diffusion "
    .. "Models",
  doc = "window attention of a diffusion block, or a resolution-aware U-Net",
  reference = "megvii-research/HiDiffusion, hidiffusion.py (Apache-2.0)",
  params = {
    part = { "enum", { "msw_msa", "raunet" }, "msw_msa", "transformer block or U-Net" },
    latent_h = { "int", 128, "msw_msa: rows of the U-Net's input", min = 1 },
    latent_w = { "int", 128, "msw_msa: columns of the U-Net's input", min = 1 },
    num_heads = { "int", 8, "msw_msa: heads", min = 1 },
    ff_mult = { "int", 4, "msw_msa: hidden width over channels", min = 1 },
    rand = { "float", 0.6, "msw_msa: the step's random number, which chooses the shift", min = 0, max = 1 },
    num_steps = { "int", 50, "raunet: length of the schedule", min = 1 },
    steps = { "list of int", { 0 }, "raunet: steps that are evaluated", min = 0 },
    conv_ratio = { "float", 0.4, "raunet: share of the steps with the dilated stride", min = 0 },
    block_ratio = { "float", 0.0, "raunet: share of the steps with pooling", min = 0 },
    aggressive = { "bool", false, "raunet: first the dilated stride, then pooling" },
    aggressive_step = { "int", 8, "raunet: of 50, steps with the dilated stride then", min = 0 },
  },
  dims = { B = 1, R = 2, CX = 640, M = 77, E = 768, H = 128, W = 128, I = 4, C = 320 },
  refuse = function(p)
    if p.part == "msw_msa" then return end
    if #p.steps == 0 then return "steps must not be empty" end
    for _, step in ipairs(p.steps) do
      if step >= p.num_steps then return "steps must lie in 0..num_steps-1" end
    end
  end,
  inputs = function(p)
    if p.part == "raunet" then return { x = "b=B c=I y=H x=W" } end
    return { x = "b=B (y=(latent_h+R-1)//R x=(latent_w+R-1)//R) c=CX", context = "b=B m=M e=E" }
  end,
  build = function(g, p, t) part[p.part](g, p, t) end,
}
