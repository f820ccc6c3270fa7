-- SPDX-License-Identifier: Apache-2.0
-- Attention whose scores are edited, one way each: --param edit=alibi, soft_cap, table (a bias per offset
-- of a grid whose rows are `side` long), temperature (of each head), gaussian (minus the squared distance),
-- cosine.
local edits = {}
function edits.none(_, _, s) return s end
function edits.alibi(_, t, s, p)
  local slope = 2.0 ^ ((t.q:index "h" + 1) * (-8.0 / p.heads))
  return s - slope * (t.q:index "i" - t.k:index "j"):abs()
end
function edits.soft_cap(_, _, s) return (s * (1 / 30)):tanh() * 30 end
function edits.table(g, t, s, p)
  local i, j, reach = t.q:index "i", t.k:index "j", 2 * p.side - 1
  local bias = g:weight("bias", "h dy dx", { h = p.heads, dy = reach, dx = reach })
  local dy, dx = i // p.side - j // p.side, i % p.side - j % p.side
  return s + bias:at { dy = dy + (p.side - 1), dx = dx + (p.side - 1) }
end
function edits.temperature(g, _, s, p)
  return s * g:weight("temperature", "h", { h = p.heads })
end
function edits.gaussian(_, t, s)
  local away = (t.q:index "i" - t.k:index "j"):float()
  return s - away * away * 1e-3
end
function edits.cosine(_, t, s)
  local function length(x) return ((x * x):sum "d" + 1e-6):sqrt() end
  return s * 80 / (length(t.q) * length(t.k))
end

return {
  name = "score_edits", doc = "attention with edited scores",
  params = {
    heads = { "int", 4, min = 1 },
    edit = { "enum", { "none", "alibi", "soft_cap", "table", "temperature", "gaussian", "cosine" }, "alibi" },
    side = { "int", 64, "length of a row of the grid", min = 1 },
  },
  dims = { B = 1, N = 4096 },
  inputs = { q = "b=B h=heads i=N d=64", k = "b=B h=heads j=N d=64", v = "b=B h=heads j=N d=64" },
  build = function(g, p, t)
    local score = edits[p.edit](g, t, t.q:dot(t.k, "d") * 0.125, p)
    g:output("o", g:attend { keys = "j", score = score, value = t.v }.out, "b h i d")
  end,
}
