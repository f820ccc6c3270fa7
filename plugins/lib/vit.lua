-- SPDX-License-Identifier: Apache-2.0
-- vit.lua: the pre-norm block of vision transformers: layer norm, one layer for queries, keys and
-- values, GELU MLP. p: dim, num_heads, mlp_ratio, qkv_bias.
local nn = require "lib.nn"
local vit = {}

function vit.norm(x, name) return nn.layernorm(x, name, "c", 1e-6) end
function vit.qkv(x, pre, p)                        -- x [.. c] -> three values [.. h d]
  local sizes = { s = 3, h = p.num_heads, d = p.dim // p.num_heads }
  return nn.linear(x, pre .. "attn.qkv", "c -> (s h d)", sizes, { bias = p.qkv_bias }):unstack "s"
end
-- The residual of what the heads [.. h d] give, and that of the MLP.
function vit.finish(x, heads, pre, p)
  x = x + nn.linear(heads, pre .. "attn.proj", "(h d) -> c", { c = p.dim })
  local hidden = math.floor(p.dim * p.mlp_ratio)
  return x + nn.mlp(vit.norm(x, pre .. "norm2"), pre .. "mlp.fc1", pre .. "mlp.fc2", hidden)
end

return vit
