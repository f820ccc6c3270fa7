-- SPDX-License-Identifier: Apache-2.0
-- Attention rollout picks the patches that the class token depends on; one more block lets these ask
-- all tokens (GLCA). In training the same blocks mix in the keys of a pair image (PWCA).
local lap, vit = require "lap", require "lib.vit"

local function heads(x, pre, p) return vit.qkv(vit.norm(x, pre .. "norm1"), pre, p) end
local function part(p, q, k, v)                    -- keys of one image
  return { keys = "m", score = q:dot(k:as "n -> m", "d") * (p.dim // p.num_heads) ^ -0.5,
    value = v:as "n -> m" }
end

-- Row 0 of the product of (map + identity)/2 over the blocks, taken from the last to the first.
local function rollout(x, maps)
  local row = lap.where(x:index "n":eq(0), 1.0, 0.0)
  for i = #maps, 1, -1 do row = 0.5 * row:dot(maps[i], "n"):as "m -> n" + 0.5 * row end
  return row:slice("n", 1, x:size "n" - 1)
end

local function glca(g, p, x, roll)
  local R = lap.dim.max(1, lap.dim.trunc(p.local_ratio, x:size "n" - 1))
  local top = roll:topk("n -> r", R).index
  local rows = top:pad("r", 1, 0, -1) + 1          -- the class token, then the patches
  local q, k, v = heads(x, "glca.", p)
  local o = g:attend(part(p, q:at("n", rows), k, v)).out
  local z = vit.finish(x:at("n", rows), o, "glca.", p)
  local function class(a, axis) return vit.norm(a:at { [axis] = 0 }, "norm") end
  g:output("local_index", top, "b r")
  g:output("glca_out", z, "b r c")
  g:output("cls", lap.cat("c", { class(x, "n"), class(z, "r") }), "b c")
end

local function pwca(g, p, a, b, names)
  for _, pre in ipairs(names) do
    local qa, ka, va = heads(a, pre, p)
    local qb, kb, vb = heads(b, pre, p)
    local oa = g:attend { parts = { part(p, qa, ka, va), part(p, qa, kb, vb) } }.out
    local ob = g:attend { parts = { part(p, qb, kb, vb), part(p, qb, ka, va) } }.out
    a, b = vit.finish(a, oa, pre, p), vit.finish(b, ob, pre, p)
  end
  g:output("pwca_out", a, "b n c")
  g:output("pwca_pair_out", b, "b n c")
end

return {
  name = "dcal", family = "pruning", doc = "global-local and pair-wise cross-attention on a ViT",
  paper = "Dual Cross-Attention Learning for Fine-Grained Visual Categorization and "
    .. "Object Re-Identification",
  reference = "equations; the authors published no code",
  params = {
    dim = { "int", 192, "channels", min = 1 },
    num_heads = { "int", 3, "heads", min = 1 },
    depth = { "int", 12, "blocks", min = 0, max = 64 },
    mlp_ratio = { "float", 4.0, "hidden width over dim" },
    qkv_bias = { "bool", true, "bias of the projections" },
    glca = { "bool", true, "the global-local branch" },
    local_ratio = { "float", 0.1, "share of the patches that become local queries", max = 1 },
    pwca = { "bool", false, "the branch with a pair image, in training" },
  },
  dims = { B = 1, N = 197 },
  refuse = function(p)
    if p.dim % p.num_heads ~= 0 then return "num_heads must divide dim" end
    if p.local_ratio <= 0 then return "local_ratio must lie in (0, 1]" end
    if p.depth < 1 and p.glca then return "glca needs a block, depth is 0" end
    if p.dim * p.mlp_ratio < 1 then return "mlp_ratio leaves no hidden channel" end
  end,
  inputs = function(p)
    return { x = "b=B n=N c=dim", pair = p.pwca and "b=B n=N c=dim" or "? b=B n=N c=dim" }
  end,
  build = function(g, p, t)
    g:require(g:number(t.x:size "n"):ge(2), "x has no patches beside the class token")
    local x, maps, names = t.x, {}, {}
    for i = 1, p.depth do
      names[i] = ("blocks.%d."):format(i - 1)
      local a = g:attend(part(p, heads(x, names[i], p)))
      maps[i] = a.weights:mean "h"
      x = vit.finish(x, a.out, names[i], p)
    end
    g:output("sa_out", x, "b n c")
    local roll = rollout(x, maps)
    g:output("rollout", roll, "b n")
    if p.glca then glca(g, p, x, roll) end
    if p.pwca then pwca(g, p, t.x, t.pair, names) end
  end,
}
