-- SPDX-License-Identifier: Apache-2.0
-- A single-image depth network gets a memory of the last frames: visual and displacement tokens, warped
-- to each new frame and kept where they still fit, attend to each other; the frame's pixels read them.
local lap, nn = require "lap", require "lib.nn"

-- X at the places that the flow f (z: dx, dy) points to, clamped to the map.
local function warp(X, f)
  local function place(axis, z) return (X:index(axis) + f:at("z", z)):clamp(0, X:size(axis) - 1) end
  return nn.bilinear(X, place("y", 1), place("x", 0))
end
local function length(a) return (a * a):sum "c":sqrt():atleast(1e-8) end

local function attention(g, p, x, m, pre)          -- x asks the tokens k of m
  local s = { h = p.heads, d = p.dim // p.heads, e = p.dim }
  local function heads(a, name) return nn.linear(a, pre .. name, "e -> (h d)", s) end
  local score = heads(x, "q"):dot(heads(m, "k"), "d") * s.d ^ -0.5
  local o = g:attend { keys = "k", score = score, value = heads(m, "v") }.out
  return nn.linear(o, pre .. "o", "(h d) -> e", s)
end
local function mlp(p, x, pre)
  local u = nn.gelu(nn.linear(x, pre .. "fc1", "e -> f", { f = 2 * p.dim }))
  return nn.linear(u, pre .. "fc2", "f -> e", { e = p.dim })
end

-- One frame: memory V, F with an axis a = age, of which the first n entries exist; their tokens, of both
-- kinds m, stand on one axis.
local function frame(g, p, x, V, F, n)
  local function ln(a, name) return nn.layernorm(a, name, "e", p.ln_eps) end
  local s = { e = p.dim, a = p.capacity, y = x:size "y", x = x:size "x" }
  local position = g:weight("position", "(y x) e", s)
  local code = g:weight("age", "a e", s) + position
  local moved = nn.gelu(nn.linear(F, "displace.fc1", "z -> e", s))
  local tokens = { nn.linear(V, "visual", "c -> e", s), nn.linear(moved, "displace.fc2", "e -> e") }
  local M = (lap.stack("m", tokens) + code):merge "a m y x -> t":ragged("t", n * (2 * s.y * s.x))
  for i = 0, p.self_layers - 1 do
    local pre = ("self.%d."):format(i)
    local q, k = ln(M, pre .. "norm1"):queries "t -> k"
    M = M + attention(g, p, q, k, pre .. "attn.")
    M = M + mlp(p, ln(M, pre .. "norm2"), pre .. "mlp.")
  end
  local q = nn.linear(x, "query", "c -> e", s) + position
  local k = ln(M, "cross.norm_kv"):as "t -> k"
  q = q + attention(g, p, ln(q, "cross.norm_q"), k, "cross.attn.")
  return q + mlp(p, ln(q, "cross.norm2"), "cross.mlp.")
end

-- Youngest first; the oldest falls off.
local function remember(M, new)
  local a = M:index "a"
  return lap.where(a:eq(0), new, M:at("a", (a - 1):atleast(0)))
end

local function video(g, p, t)
  local L = p.capacity
  return g:scan {
    along = "t", inputs = { x = t.features, f = t.flows },
    state = { V = g:zeros("b a c y x", t.features, { a = L }), F = g:zeros("b a z y x", t.flows, { a = L }) },
    body = function(s, c, i)
      local x, is_first = c.x, i:eq(0)
      local V, F = warp(s.V, c.f), c.f + warp(s.F, c.f)
      local keep = g:full(1.0, "a b y x", V)
      if p.update then keep = (V:dot(x, "c") / (length(V) * length(x))):clamp(0.0, 1.0) end
      V = keep * V + (1 - keep) * x
      -- frame 0 sees itself
      local after, n = { V = remember(V, x), F = remember(F, 0.0) }, i:clamp(1, L)
      local q = frame(g, p, x, lap.where(is_first, after.V, V), lap.where(is_first, after.F, F), n)
      local kept = lap.where(is_first, 1.0, keep:ragged("a", n):mean "a b y x")
      return after, { fused = q, kept = kept }
    end,
  }
end

return {
  name = "mamo", family = "memory",
  paper = "MAMo: Leveraging Memory and Attention for Monocular Video Depth Estimation",
  doc = "video depth with a memory of visual and displacement tokens",
  reference = "equations of the paper",
  params = {
    dim = { "int", 16, "width of the tokens, even", min = 2 },
    heads = { "int", 2, "heads", min = 1 },
    capacity = { "int", 3, "frames that are kept", min = 1, max = 64 },
    self_layers = { "int", 1, "layers of attention inside the memory", min = 0, max = 32 },
    update = { "bool", true, "tokens are kept as far as they fit; false: as they are" },
    max_depth = { "float", 10.0, "largest depth" },
    ln_eps = { "float", 1e-5, "of the layer norms", min = 0 },
  },
  dims = { T = 4, B = 1, C = 512, H = 12, W = 40 },
  bench = { dim = 128, heads = 4 },
  refuse = function(p)
    if p.dim % p.heads ~= 0 then return "heads must divide dim" end
    if p.dim % 2 ~= 0 then return "dim must be even" end
  end,
  inputs = { features = "t=T b=B c=C y=H x=W", flows = "t=T b=B z=2 y=H x=W" },
  build = function(g, p, t)
    local T, flow = t.features:size "t", t.flows
    g:require(g:number(T):ge(1), "there are no frames")
    g:require(flow:eq(flow):all(), "a flow is not a number")
    local run = video(g, p, t)
    local u = nn.conv(run.fused, "depth.0", "e -> e", { k = 3, sizes = { e = p.dim // 2 } })
    local depth = nn.conv(nn.relu(u), "depth.1", "e -> e", { k = 3, sizes = { e = 1 } })
    g:output("depth", depth:sigmoid() * p.max_depth, "t b e y x")
    g:output("fused", run.fused, "t b e y x")
    g:output("kept_fraction", run.kept, "t")
    local n = lap.dim.min(T, p.capacity)
    local age = n - 1 - g:index("o", n)            -- oldest first
    g:output("memory_visual", run.last_V:at("a", age), "o b c y x")
    g:output("memory_displacement", run.last_F:at("a", age), "o b z y x")
  end,
}
