-- SPDX-License-Identifier: Apache-2.0
-- diffusers.lua: the transformer layer of latent-diffusion networks with the weight names of the
-- diffusers library: attention to the tokens themselves and to a prompt, and a gated MLP. Tokens
-- are any axes, their features c.
local lap, nn = require "lap", require "lib.nn"
local diffusers = {}

-- x asks `source`, whose key axes are `keys` and whose features `from` (c unless said), with
-- o.heads. o.bias: of queries, keys and values; o.add: to the score; o.edit(score): the score in its
-- place; o.where. o.head: name of the heads' axis. Results: out and the score.
function diffusers.attention(x, source, keys, pre, o)
  local h, d, from = o.head or lap.axis "h", lap.axis "d", o.from or "c"
  local sizes = { [h] = o.heads, [d] = x:size "c" / o.heads, c = x:size "c" }
  local function project(a, name, features)
    local spec = ("%s -> (%s %s)"):format(features, h, d)
    return nn.linear(a, pre .. name, spec, sizes, { bias = o.bias or false })
  end
  local score = project(x, "to_q", "c"):dot(project(source, "to_k", from), d) * x.g:number(sizes[d]) ^ -0.5
  if o.add then score = score + o.add end
  if o.edit then score = o.edit(score) end
  local value = project(source, "to_v", from)
  local y = x.g:attend { keys = keys, score = score, where = o.where, value = value }.out
  return nn.linear(y, pre .. "to_out.0", ("(%s %s) -> c"):format(h, d), sizes), score
end
-- The gated MLP: half of the hidden units gate the other half; mult: their number over the channels,
-- 4 unless said.
function diffusers.geglu(x, pre, mult)
  local z, f, C = lap.axis "z", lap.axis "f", x:size "c"
  local sizes = { [z] = 2, [f] = (mult or 4) * C, c = C }
  local u, gate = nn.linear(x, pre .. "net.0.proj", ("c -> (%s %s)"):format(z, f), sizes):unstack(z)
  return nn.linear(u * nn.gelu(gate), pre .. "net.2", f .. " -> c", sizes)
end

return diffusers
