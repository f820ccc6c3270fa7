-- SPDX-License-Identifier: Apache-2.0
-- Networks of the coordinates make kernels W (slow), which meet the activations Z twice (fast): as a
-- product, then as a matrix product or a depthwise convolution. Ten branches, a bottleneck, norms
-- from the data at hand, no residual.
local lap, nn = require "lap", require "lib.nn"

local fast = "fast_multi_branch."
local function pw(x, name, spec, size) return nn.conv1x1(x, fast .. name, spec or "c -> c", size) end
local function standard(x, over) return nn.groupnorm(x, nil, over) end

-- A network whose only input are the coordinates of `axes`, -1 .. 1 along each.
-- o: axes, n, layers, hidden, to = output axis, width, bias, modulate(u, layer).
local function slow(g, name, o)
  local pre, at, axes = fast .. name .. ".Kernel.", {}, table.concat(o.axes, " ")
  for i, axis in ipairs(o.axes) do
    at[i] = g:index(axis, o.n) * (2.0 / math.max(o.n - 1, 1)) - 1
  end
  at = lap.stack("q", at)
  local size, option = { f = o.hidden, [o.to] = o.width }, { tail = #o.axes == 2 and "1 1" or "1" }
  local function layer(x, n, spec) return nn.linear(x, pre .. n, spec, size, option) end
  local function filter(i) return layer(at, "filters." .. i .. ".linear", "q -> f"):sin() end
  local bias = g:weight(pre .. o.bias, "1 1 " .. axes, { y = o.n, x = o.n, c = o.n })
  local u = filter(0)
  for i = 0, o.layers - 1 do
    u = filter(i + 1) * layer(u, "linears." .. i, "f -> f") + bias
    if o.modulate then u = o.modulate(u, i) end
  end
  return layer(u, "output_linear", "f -> " .. o.to)
end

-- The depthwise kernel [c ky kx] of a local branch: one for the batch, modulated by t.
local function local_kernel(g, p, i, t)
  local name, k, size = "slow_net_l" .. i, p.local_kernels[i], { f = p.hidden_local }
  local function part(x, n, spec) return pw(x, name .. ".Kernel." .. n, spec or "f -> f", size) end
  local seen = part(nn.adaptive_avg_pool(t, "y x", k), "fast_reduce", "c -> f"):mean "b"
  seen = nn.gelu(part(seen, "fast_fc1"))
  local function modulate(u, layer)
    local function w(n) return g:weight(fast .. name .. ".Kernel." .. n .. layer, "f", size) end
    u = w "alphas." * u + w "betas." * nn.unit(u, "y x")
    return u * part(seen, "fast_linears_x." .. layer)
  end
  return slow(g, name, { axes = { "y", "x" }, n = k, layers = 2, hidden = p.hidden_local, to = "c",
    width = p.channels, bias = "bias_pk", modulate = modulate }):as "y x -> ky kx"
end
local function local_branch(g, p, i, kernel, t)
  local k = p.local_kernels[i]
  local u = t:windows("y x", "ky kx", { size = k, pad = k // 2 }):dot(kernel, "ky kx")
  u = pw(u, "local_interact_conv_" .. i .. ".channel_mixer")
  return nn.gelu(standard(u, "b y x")) + g:weight(fast .. "bias" .. i, "1")
end

local function rgu(g, p, name, t)
  local function lin(x, n) return pw(x, name .. ".fast_linear_" .. n) end
  local u = standard(lin(t, "k") * lin(lin(t, "v"), "q"), "y x")
  local bias = g:weight(fast .. name .. ".bias_p", "1 1 y x", { y = p.size, x = p.size })
  return lin(nn.gelu(u) + bias, "y")
end
local function channel_score(g, p, name, t)
  local m = t:mean "y x"
  return m * m * slow(g, name .. ".slow_net_gc", { axes = { "c" }, n = p.channels, layers = 2,
    hidden = p.hidden_channel, to = "o", width = 1, bias = "bias_p" }):at("o", 0)
end

-- The concatenated branches, the global kernel and the second local one.
local function ten_branches(g, p, t)
  local x, C, plane = t.x, p.channels, { "y", "x" }
  local W = slow(g, "slow_net_g", { axes = plane, n = p.size, layers = p.layers_global,
    hidden = p.hidden_global, to = "c", width = C, bias = "bias_p" })
  local Z = x * W
  local quick = standard(rgu(g, p, "Fast_Kernel_rgu_2", Z) + rgu(g, p, "Fast_Kernel_rgu", x), "y x")
  local mix = standard(pw(x, "channel_mixer_mlp"), "y x")
  local hci = standard(x * channel_score(g, p, "channel_mixer_hci", x):sigmoid(), "y x")
  local function product(a) return Z:as "x -> k":dot(a:as "y -> k", "k") end
  local o1, o2, o3 = product(quick), product(mix), product(hci)
  local sp = o1:mean "c"
  local space = sp * sp * slow(g, "hyper_interact.slow_net_gs", { axes = plane, n = p.size, layers = 2,
    hidden = p.hidden_spatial, to = "o", width = 1, bias = "bias_p" }):at("o", 0)
  local inter = x * (space * channel_score(g, p, "hyper_interact", o1)):sigmoid()
  local near, kernel = {}, {}
  for i, pair in ipairs { { x, hci }, { hci, x }, { mix, x }, { x, mix } } do
    kernel[i] = local_kernel(g, p, i, pair[1])
    near[i] = local_branch(g, p, i, kernel[i], pair[2])
  end
  local list = {}
  local function add(...) for _, a in ipairs { ... } do list[#list + 1] = a end end
  local function earlier(a) if a then add(a:at("c", g:index("c", C) % a:size "c")) end end
  add(o1, near[2]) earlier(t.x_pre)
  add(quick, o2, near[1], nn.silu(o1), near[3], o3, near[4]) earlier(t.x_pre_pre)
  add(inter)
  return lap.cat("c", list), W, kernel[2]
end

local function refuse(p)
  for _, name in ipairs { "pre_channels", "pre_pre_channels" } do
    if p[name] > 0 and p.channels % p[name] ~= 0 then return name .. " must divide channels" end
  end
  if p.pre_pre_channels > 0 and p.pre_channels == 0 then return "x_pre_pre needs x_pre" end
  if p.bottleneck_factor * p.channels % p.groups ~= 0 then
    return "groups must divide bottleneck_factor * channels"
  end
  for i = 1, math.max(4, #p.local_kernels) do
    local k = p.local_kernels[i]
    if i > 4 or not k or k % 2 == 0 then return "local_kernels must be 4 odd sizes" end
  end
end

return {
  name = "hyperzzw", family = "hypernetwork",
  paper = "HyperZ.Z.W Operator Connects Slow-Fast Networks for Full Context Interaction",
  doc = "kernels from coordinate networks, applied to activations in ten branches",
  reference = "hyperevolnet/Terminator, models/modules/ (no licence), run, not copied",
  params = {
    channels = { "int", 24, "channels", min = 1 },
    size = { "int", 32, "side of the map", min = 2 },
    bottleneck_factor = { "int", 2, "channels out over channels in", min = 1 },
    groups = { "int", 12, "groups of the last norm, even ones over the batch too", min = 1 },
    local_kernels = { "list of int", { 3, 9, 5, 7 }, "sides of the local kernels, odd", min = 1 },
    hidden_global = { "int", 64, "global slow network: width", min = 1 },
    hidden_local = { "int", 32, "local ones", min = 1 },
    hidden_channel = { "int", 32, "those along channels", min = 1 },
    hidden_spatial = { "int", 64, "that over the map", min = 1 },
    layers_global = { "int", 2, "layers of the global slow network", min = 1, max = 32 },
    pre_channels = { "int", 0, "channels of x_pre, 0 = none", min = 0 },
    pre_pre_channels = { "int", 0, "channels of x_pre_pre, 0 = none", min = 0 },
    hk_prev_channels = { "int", 0, "channels of hk_prev, 0 = none", min = 0 },
  },
  dims = { B = 8 },
  refuse = refuse,
  inputs = function(p)
    local function map(b, c) return p[c] > 0 and ("%s c=%s y=size x=size"):format(b, c) or nil end
    return { x = map("b=B", "channels"), x_pre = map("b=B", "pre_channels"),
      x_pre_pre = map("b=B", "pre_pre_channels"), hk_prev = map("1", "hk_prev_channels") }
  end,
  build = function(g, p, t)
    local branches, W, kernel2 = ten_branches(g, p, t)
    local u = pw(branches, "bottleneck_layer", "c -> (group e)",
      { group = p.groups, e = p.bottleneck_factor * p.channels // p.groups })
    local is_even = (u:index "group" % 2):eq(0)
    u = lap.where(is_even, standard(u, "b y x"), standard(u, "y x"))
    g:output("y", nn.gelu(u) + g:weight("bias", "1"), "b (group e) y x")
    g:output("global_hk", W, "1 c y x")
    g:output("local_hk2", kernel2, "c 1 ky kx")
    g:output("branches", branches, "b c y x")
    if t.hk_prev then
      local gap = t.hk_prev:sum "c" - W:sum "c"
      g:output("slow_loss", (gap * gap):mean "y x", "1")
    end
  end,
}
