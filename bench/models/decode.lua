-- SPDX-License-Identifier: Apache-2.0
-- One new token against a cache of keys and values that groups of query heads share. The cache is f32
-- (bf16 or f16 with --dtype), or int8 with one scale per key and head.
local function cached(t, name, int8)
  local x = t[name]
  return int8 and x:float() * t[name .. "_scale"] or x
end

return {
  name = "decode", doc = "one query per sequence against cached keys and values",
  params = {
    heads = { "int", 32, "query heads", min = 1 },
    kv_heads = { "int", 8, "heads of the cache", min = 1 },
    dim_head = { "int", 128, "width of a head", min = 1 },
    int8 = { "bool", false, "whether the cache is int8" },
  },
  dims = { B = 1, M = 16384 },
  inputs = function(p)
    local x = { q = "b=B (h=kv_heads r=heads//kv_heads) d=dim_head" }
    for _, name in ipairs { "k", "v" } do
      x[name] = (p.int8 and "i8 " or "") .. "b=B h=kv_heads j=M d=dim_head"
      if p.int8 then x[name .. "_scale"] = "b=B h=kv_heads j=M" end
    end
    return x
  end,
  build = function(g, p, t)
    local score = t.q:dot(cached(t, "k", p.int8), "d") * p.dim_head ^ -0.5
    local o = g:attend { keys = "j", score = score, value = cached(t, "v", p.int8) }
    g:output("o", o.out, "b (h r) d")
  end,
}
