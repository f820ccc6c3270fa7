-- SPDX-License-Identifier: Apache-2.0
-- Efficient local attention: means of rows and of columns, a 1-D convolution, a group norm and a
-- sigmoid along each strip give two gates, whose product weighs the map.
local nn = require "lib.nn"

-- The paper's four sizes: taps, channels of a group of the convolution, groups of the norm.
local sizes = {
  T = { k = 5, per_conv = 1, norm = 32 }, B = { k = 7, per_conv = 1, norm = 16 },
  S = { k = 5, per_conv = 8, norm = 16 }, L = { k = 7, per_conv = 8, norm = 16 },
}

return {
  name = "ela", family = "gated", doc = "gates of a map from the means of its rows and columns",
  paper = "ELA: Efficient Local Attention for Deep Convolutional Neural Networks",
  reference = "equations; no official code is public",
  params = {
    variant = { "enum", { "T", "B", "S", "L" }, "B", "size of the paper" },
    kernel_size = { "int", function(p) return sizes[p.variant].k end, "taps, odd", min = 1 },
    conv_groups = { "int?", nil, "groups of the convolution: all channels, or an eighth (S, L)",
      min = 1 },
    norm_groups = { "int", function(p) return sizes[p.variant].norm end, "groups of the norm",
      min = 1 },
    share = { "bool", true, "one convolution and norm for both axes" },
  },
  dims = { B = 1, C = 256, H = 28, W = 28 },
  refuse = function(p)
    local v, this = sizes[p.variant], "variant " .. p.variant
    if p.kernel_size % 2 == 0 then return "kernel_size must be odd" end
    if p.kernel_size ~= v.k then return this .. " has kernel_size " .. v.k end
    if p.norm_groups ~= v.norm then return this .. " has norm_groups " .. v.norm end
    if p.conv_groups and p.conv_groups * v.per_conv % p.norm_groups ~= 0 then
      return ("norm_groups must divide the channels, %d of variant %s")
        :format(p.conv_groups * v.per_conv, p.variant)
    end
  end,
  inputs = function(p)
    local per_conv = sizes[p.variant].per_conv
    if not p.conv_groups then return { x = "b=B c=C y=H x=W" } end
    return { x = ("b=B c=conv_groups*%d y=H x=W"):format(per_conv) }
  end,
  build = function(g, p, t)
    local x, v = t.x, sizes[p.variant]
    local function multiple(n, what)
      g:require(g:number(x:size "c" % n):eq(0), ("%s %d must divide the channels"):format(what, n))
    end
    multiple(v.per_conv, "the group size of the convolution")
    multiple(p.norm_groups, "norm_groups")
    g:require(g:number(x:size "y"):ge(1), "the map has no rows")
    g:require(g:number(x:size "x"):ge(1), "the map has no columns")
    local function gate(z, along, suffix)          -- z [b c along]
      suffix = p.share and "" or suffix
      z = z:split("c -> g e", { e = v.per_conv })
      local u = nn.conv(z, "conv" .. suffix, "e -> f", { along = along, groups = "g",
        k = p.kernel_size, sizes = { f = v.per_conv }, bias = false })
      u = u:merge "g f -> c":split("c -> n m", { n = p.norm_groups })
      return nn.groupnorm(u, "gn" .. suffix, "m " .. along, "n m"):merge "n m -> c":sigmoid()
    end
    local gate_h, gate_w = gate(x:mean "x", "y", "_h"), gate(x:mean "y", "x", "_w")
    g:output("y", x * gate_h * gate_w, "b c y x")
    g:output("gate_h", gate_h, "b c y")
    g:output("gate_w", gate_w, "b c x")
  end,
}
