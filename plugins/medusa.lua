-- SPDX-License-Identifier: Apache-2.0
-- One encoder-decoder makes a global attention map of the input; at every scale of the backbone a
-- light head turns it into a gate.
local lap, nn = require "lap", require "lib.nn"

local function conv(x, name, width, stride)
  return nn.relu(nn.conv(x, name, "c -> c", { k = 3, stride = stride, sizes = { c = width } }))
end
local function like(a, f)                          -- a on the map of f
  return nn.resize(a, "y x", { y = f:size "y", x = f:size "x" }, { mode = "linear" })
end

local function body(g, p, t)
  local n, skip = #p.body, {}
  for _, axis in ipairs { "y", "x" } do
    g:require(g:number(t:size(axis)):ge(1 << n - 1), "the image is too small for the levels of body")
  end
  for i, width in ipairs(p.body) do
    t = conv(t, "body.enc." .. i - 1, width)
    if i < n then
      skip[i] = t
      t = nn.max_pool(t, "y x", { size = 2 })
    end
  end
  for i = n - 1, 1, -1 do
    t = conv(lap.cat("c", { like(t, skip[i]), skip[i] }), "body.dec." .. i - 1, p.body[i])
  end
  return nn.conv1x1(t, "body.out", "c -> c", { c = 1 })
end

-- The gate of the features f by the global map A.
local function head(p, f, A, pre)
  local u = conv(lap.cat("c", { f, like(A, f) }), pre .. "mix", p.head_hidden)
  local width = p.per_channel and f:size "c" or 1
  return nn.conv1x1(u, pre .. "out", "c -> c", { c = width }):sigmoid()
end

return {
  name = "medusa", family = "gated", doc = "one global attention map with heads at several scales",
  paper = "MEDUSA: Multi-scale Encoder-Decoder Self-Attention Deep Neural Network Architecture "
    .. "for Medical Image Analysis",
  reference = "equations; the released model is a stored graph",
  params = {
    in_channels = { "int", 3, "channels of x", min = 1 },
    body_in_channels = { "int", 3, "channels of x_body, where it is given", min = 1 },
    body = { "list of int", { 6, 8, 10 }, "channels of the body's levels", min = 1 },
    stages = { "list of int", { 8, 12, 16 }, "channels of the backbone, a head for each", min = 1 },
    head_hidden = { "int", 8, "hidden channels of a head", min = 1 },
    per_channel = { "bool", false, "a gate per channel, else one per pixel" },
    residual = { "bool", false, "the gated features are added to the features" },
    num_classes = { "int", 3, "logits", min = 1 },
  },
  dims = { B = 1, H = 480, W = 480, HB = 256, WB = 256 },
  refuse = function(p)
    if #p.body == 0 then return "body must not be empty" end
    if #p.body > 32 then return "body has more than 32 levels" end
    if #p.stages == 0 then return "stages must not be empty" end
  end,
  inputs = { x = "b=B c=in_channels y=H x=W", x_body = "? b=B c=body_in_channels y=HB x=WB" },
  build = function(g, p, t)
    local A, f = body(g, p, t.x_body or t.x), t.x
    g:output("global_attention", A, "b c y x")
    for j, width in ipairs(p.stages) do
      f = conv(f, "stage." .. j - 1, width, 2)
      local a = head(p, f, A, ("head.%d."):format(j - 1))
      g:output("scale_attention." .. j - 1, a, "b c y x")
      local gated = f * (p.per_channel and a or a:at { c = 0 })
      f = p.residual and gated + f or gated
      g:output("features." .. j - 1, f, "b c y x")
    end
    local logits = nn.linear(f:mean "y x", "classifier", "c -> o", { o = p.num_classes })
    g:output("logits", logits, "b o")
  end,
}
