-- SPDX-License-Identifier: Apache-2.0
-- Scaled dot-product attention with the usual patterns. Query i stands at key position i + M - N,
-- so that the last query sees the last key when there is a cache.
local pattern = require "lib.pattern"

local function seen(p, i, j)
  local cond
  local function only(c) cond = cond and cond & c or c end
  if p.window > 0 then only(pattern.sliding(i, j, p.window)) end
  if p.dilation > 1 then only(pattern.dilated(i, j, p.dilation)) end
  if p.block > 0 then only(pattern.block(i, j, p.block)) end
  if cond and p.sinks > 0 then cond = cond | pattern.sinks(i, j, p.sinks) end
  if p.causal then only(pattern.causal(i, j)) end
  return cond
end

return {
  name = "attention", family = "attention", paper = "Attention Is All You Need",
  doc = "dense, causal, windowed, dilated and blocked attention with grouped heads",
  reference = "the definition; cases by an independent NumPy script",
  params = {
    heads = { "int", 8, "query heads", min = 1 },
    kv_heads = { "int", function(p) return p.heads end, "key and value heads", min = 1 },
    dim_head = { "int", 64, "width of a head", min = 1 },
    causal = { "bool", false, "no key after the query" },
    window = { "int", 0, "largest distance of a key, 0 = any", min = 0 },
    dilation = { "int", 1, "every how many-th key", min = 1 },
    sinks = { "int", 0, "first keys that every query sees", min = 0 },
    block = { "int", 0, "side of the blocks that attend within themselves, 0 = none", min = 0 },
    scale = { "float", function(p) return p.dim_head ^ -0.5 end, "factor of the scores" },
  },
  dims = { B = 1, N = 1024, M = "N" },
  refuse = function(p)
    if p.heads % p.kv_heads ~= 0 then return "kv_heads must divide heads" end
  end,
  inputs = {
    q = "b=B (h=kv_heads r=heads//kv_heads) i=N d=dim_head",
    k = "b=B h=kv_heads j=M d=dim_head",
    v = "b=B h=kv_heads j=M d=dim_head",
  },
  build = function(g, p, t)
    local j = t.k:index "j"
    local i = t.q:index "i" + (t.k:size "j" - t.q:size "i")
    local score = t.q:dot(t.k, "d") * p.scale
    local o = g:attend { keys = "j", score = score, where = seen(p, i, j), value = t.v }
    g:output("o", o.out, "b (h r) i d")
  end,
}
