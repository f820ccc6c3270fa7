-- SPDX-License-Identifier: Apache-2.0
-- Hybrid attention yields a map of significance: how much each token is attended. Sorted by it,
-- tokens merge into keys, at a low rate where they matter and at a high one where they do not.
local lap, nn, window = require "lap", require "lib.nn", require "lib.window"

local WINDOW = 7
local rates = { [8] = { 196, 56, 28 }, [4] = { 49, 14, 7 }, [2] = { 2, 1 } }  -- of the classes
local whole = { [8] = 784, [4] = 196, [2] = 4 }    -- what they divide

local function keys_values(p, x, name, s)
  return nn.linear(x, name, "c -> (s h d)", s, { bias = p.qkv_bias }):unstack "s"
end

-- Half of the heads attend to strided keys, half in windows; what each key receives is added up.
local function hybrid(g, p, u, pre)
  local r, scale = p.sr_ratio, (p.dim // p.num_heads) ^ -0.5
  local s = { s = 2, h = p.num_heads // 2, d = p.dim // p.num_heads }
  local function queries(x, name)
    return nn.linear(x, pre .. name, "c -> (h d)", s, { bias = p.qkv_bias }) * scale
  end
  local z = nn.conv(u, pre .. "sr", "c -> c", { k = r, stride = r, pad = 0 }):as "y x -> v w"
  local k, v = keys_values(p, nn.gelu(nn.layernorm(z, pre .. "norm", "c")), pre .. "kv1", s)
  local far = g:attend { keys = "v w", score = queries(u, "q1"):dot(k, "d"), value = v }

  local cut = window.cut(u, "y x", WINDOW)
  k, v = keys_values(p, cut, pre .. "kv2", s)
  k, v = k:as "y x -> v w", v:as "y x -> v w"
  local near = g:attend { keys = "v w", score = queries(cut, "q2"):dot(k, "d"), value = v }

  local significance = nn.resize(far.weights:mean "h y x":as "v w -> y x", "y x",
    { y = p.H, x = p.W })
    + window.join(near.weights:mean "h y x":as "v w -> y x", "y x", u)
  local function channels(a) return a:merge "h d -> c" end
  return lap.cat("c", { channels(far.out), channels(window.join(near.out, "y x", u)) }), significance
end

-- The tokens in rising order of significance, each `rate` neighbours of a class merged to one.
local function merged(g, p, u, significance, pre, flat)
  local N, classes, start = p.H * p.W, {}, 0
  local order = significance:merge(flat):sort("n -> m", { smallest = true }).index
  local sorted = u:merge(flat):at("n", order)
  for i, rate in ipairs(rates[p.sr_ratio]) do
    local share = (p.sr_ratio == 2 or i == 2) and 2 or 4
    local groups = sorted:slice("m", start, N // share):split("m -> m e", { e = rate })
    local f = pre .. "f" .. i
    classes[i] = groups:dot(g:weight(f .. ".weight", "1 e", { e = rate }), "e")
      + g:weight(f .. ".bias", "1")
    start = start + N // share
  end
  return lap.cat("m", classes)
end

local function reallocate(g, p, u, pre, significance)
  local s = { s = 2, h = p.num_heads // 2, d = p.dim // p.num_heads }
  local function half(flat, name)
    return keys_values(p, merged(g, p, u, significance, pre, flat), pre .. name, s)
  end
  local k1, v1 = half("y x -> n", "kv1")           -- row-major heads
  local k2, v2 = half("x y -> n", "kv2")           -- column-major heads
  local all = { h = p.num_heads, d = s.d }
  local q = nn.linear(u, pre .. "q", "c -> (h d)", all, { bias = p.qkv_bias })
  local o = g:attend { keys = "m", score = q:dot(lap.cat("h", { k1, k2 }), "d") * s.d ^ -0.5,
    value = lap.cat("h", { v1, v2 }) }
  return o.out:merge "h d -> c", significance
end

local function block(g, p, x, pre, mix, significance)
  local u = nn.layernorm(x, pre .. "norm1", "c", 1e-6)
  local lepe = nn.linear(u, pre .. "attn.lepe_linear", "c -> c")
  local y, found = mix(g, p, u, pre .. "attn.", significance)
  y = y + nn.depthwise(lepe, pre .. "attn.lepe_conv", "c", { k = 3 })
  x = x + nn.linear(y, pre .. "attn.proj", "c -> c")
  local hidden, z = { f = math.floor(p.dim * p.mlp_ratio) }, nil
  z = nn.linear(nn.layernorm(x, pre .. "norm2", "c", 1e-6), pre .. "mlp.fc1", "c -> f", hidden)
  z = nn.gelu(z + nn.depthwise(z, pre .. "mlp.dwconv.dwconv", "f", { k = 3 }))
  return x + nn.linear(z, pre .. "mlp.fc2", "f -> c", { c = p.dim }), found
end

local function refuse(p)
  if not rates[p.sr_ratio] then return "sr_ratio must be 8, 4 or 2" end
  if p.num_heads % 2 ~= 0 then return "num_heads must be even" end
  if p.dim % p.num_heads ~= 0 then return "num_heads must divide dim" end
  if p.dim * p.mlp_ratio < 1 then return "mlp_ratio leaves no hidden channel" end
  if p.part ~= "reallocate" and (p.H % WINDOW ~= 0 or p.W % WINDOW ~= 0) then
    return "H and W must be multiples of 7"
  end
  if p.H % p.sr_ratio ~= 0 or p.W % p.sr_ratio ~= 0 then return "sr_ratio must divide H and W" end
  if p.part ~= "hybrid" and p.H * p.W % whole[p.sr_ratio] ~= 0 then
    return ("H*W must be a multiple of %d, else a class is no multiple of its rate")
      :format(whole[p.sr_ratio])
  end
end

return {
  name = "sg_former", family = "routing", doc = "hybrid attention, then reallocated tokens as keys",
  paper = "SG-Former: Self-guided Transformer with Evolving Token Reallocation",
  reference = "OliverRensu/SG-Former, sgformer.py",
  params = {
    part = { "enum", { "chain", "hybrid", "reallocate" }, "chain", "both blocks, the first, the second" },
    H = { "int", 56, "rows of the map", min = 1 },
    W = { "int", 56, "columns of the map", min = 1 },
    dim = { "int", 64, "channels", min = 1 },
    num_heads = { "int", 2, "heads, even", min = 1 },
    mlp_ratio = { "float", 4.0, "hidden width over dim" },
    qkv_bias = { "bool", true, "bias of the projections" },
    sr_ratio = { "int", 8, "stride of the keys, and which rates: 8, 4 or 2" },
  },
  dims = { B = 1 },
  refuse = refuse,
  inputs = function(p)
    return { x = "b=B (y=H x=W) c=dim", significance = p.part == "reallocate" and "b=B y=H x=W" or nil }
  end,
  build = function(g, p, t)
    local x, significance = t.x, t.significance
    if p.part ~= "reallocate" then
      x, significance = block(g, p, x, "0.", hybrid)
      g:output("significance", significance, "b y x")
    end
    if p.part == "chain" then g:output("mid", x, "b (y x) c") end
    if p.part ~= "hybrid" then
      x = block(g, p, x, "1.", reallocate, significance)
    end
    g:output("out", x, "b (y x) c")
  end,
}
