-- SPDX-License-Identifier: Apache-2.0
-- Normalisations and activations of the library against torch.
local nn = require "lib.nn"
local scalars = { "relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "silu", "hardsigmoid",
  "hardswish", "softplus", "mish", "gelu", "gelu_tanh" }
return {
  name = "library_norm",
  inputs = { x = "b c y x", s = "b n d" },
  build = function(g, p, t)
    g:output("layer", nn.layernorm(t.s, "layer", "d"), "b n d")
    g:output("layer_two", nn.layernorm(t.s, "layer_two", "n d", 1e-3), "b n d")
    g:output("rms", nn.rmsnorm(t.s, "rms", "d", 1e-6), "b n d")
    local parts = t.x:split("c -> g e", { g = 2 })
    g:output("group", nn.groupnorm(parts, "group", "e y x", "g e"), "b (g e) y x")
    g:output("instance", nn.instancenorm(t.x, nil, "y x"), "b c y x")
    g:output("instance_affine", nn.instancenorm(t.x, "instance", "y x", "c"), "b c y x")
    g:output("batch", nn.batchnorm(t.x, "batch"), "b c y x")
    g:output("unit", nn.unit(t.s, "d"), "b n d")
    g:output("softmax", nn.softmax(t.x, "y x"), "b c y x")
    g:output("log_softmax", nn.log_softmax(t.s, "d"), "b n d")
    for _, name in ipairs(scalars) do g:output(name, nn[name](t.s * 3), "b n d") end
  end,
}
