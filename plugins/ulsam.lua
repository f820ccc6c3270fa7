-- SPDX-License-Identifier: Apache-2.0
-- Each of g groups of channels infers one spatial softmax map from its own channels, and is
-- reweighted by it.
local nn = require "lib.nn"

return {
  name = "ulsam", family = "gated", doc = "one spatial softmax map per subspace of channels",
  paper = "ULSAM: Ultra-Lightweight Subspace Attention Module for Compact Convolutional Networks",
  reference = "Nandan91/ULSAM, ulsam.py",
  params = {
    nin = { "int", 64, "channels", min = 1 },
    num_splits = { "int", 4, "subspaces", min = 1 },
  },
  dims = { B = 1, H = 56, W = 56 },
  refuse = function(p)
    if p.nin % p.num_splits ~= 0 then return "num_splits must divide nin" end
  end,
  inputs = { x = "b=B (k=num_splits c=nin/num_splits) y=H x=W" },
  build = function(g, p, t)
    local X, sizes = t.x, { k = p.num_splits, c = p.nin // p.num_splits }
    local function w(name, layout) return g:weight("subspaces.{k}." .. name, layout, sizes) end
    local function batchnorm(a, name, layout)
      local scale = w(name .. ".weight", layout) / (w(name .. ".running_var", layout) + 1e-5):sqrt()
      return (a - w(name .. ".running_mean", layout)) * scale + w(name .. ".bias", layout)
    end
    local D = X * w("conv_dws.weight", "k c 1 1 1") + w("conv_dws.bias", "k c")
    D = nn.relu(batchnorm(D, "bn_dws", "k c"))
    local P = nn.max_pool(D, "y x", { size = 3, stride = 1, pad = 1 })
    local S = P:dot(w("conv_point.weight", "k 1 c 1 1"), "c") + w("conv_point.bias", "k 1")
    local A = nn.relu(batchnorm(S, "bn_point", "k 1")):softmax "y x"
    g:output("y", X * A + X, "b (k c) y x")
    g:output("attn", A, "b k y x")
  end,
}
