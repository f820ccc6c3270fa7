-- SPDX-License-Identifier: Apache-2.0
-- activation.lua: scalar functions under the names of torch.nn.functional.
local lap = require "lap"
local act = {}

function act.relu(x) return x:atleast(0.0) end
function act.relu6(x) return x:clamp(0.0, 6.0) end
function act.leaky_relu(x, slope) return lap.where(x:ge(0.0), x, x * (slope or 0.01)) end
function act.elu(x, alpha)
  -- the exponential of the branch not taken must not overflow
  return lap.where(x:gt(0.0), x, (alpha or 1.0) * (x:atmost(0.0):exp() - 1))
end
function act.sigmoid(x) return x:sigmoid() end
function act.tanh(x) return x:tanh() end
function act.silu(x) return x * x:sigmoid() end
function act.hardsigmoid(x) return act.relu6(x + 3) / 6 end
function act.hardswish(x) return x * act.hardsigmoid(x) end
function act.softplus(x)
  return lap.where(x:gt(20), x, (1 + x:atmost(20):exp()):log())      -- torch's threshold
end
function act.mish(x) return x * act.softplus(x):tanh() end
function act.gelu(x) return 0.5 * x * (1 + (x / math.sqrt(2)):erf()) end
function act.gelu_tanh(x)
  return 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)):tanh())
end
function act.softmax(x, over) return x:softmax(over) end
function act.log_softmax(x, over) return x:log_softmax(over) end
-- Scaled to length 1 over the axes; torch's normalize.
function act.unit(x, over) return x / (x * x):sum(over):sqrt():atleast(1e-12) end

return act
