-- Scaled dot-product attention with the usual patterns. Query i stands at key position i + M - N,
-- so that the last query sees the last key when there is a cache.
local function refuse(p)
  if p.heads % p.kv_heads ~= 0 then return "kv_heads must divide heads" end
end

return {
  name = "attention", family = "attention", paper = "Attention Is All You Need",
  doc = "dense, causal, windowed, dilated and blocked attention with grouped heads",
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
  refuse = refuse,
  inputs = {
    q = "b (h=kv_heads r=heads//kv_heads) i=N d=dim_head",
    k = "b h=kv_heads j=M d=dim_head",
    v = "b h=kv_heads j=M d=dim_head",
  },
  build = function(g, p, t)
    local j = t.k:index("j")
    local at = t.q:index("i") + (t.k:size("j") - t.q:size("i"))
    local seen
    local function only(cond) seen = seen and seen & cond or cond end
    if p.causal then only(j:le(at)) end
    if p.window > 0 then only((at - j):abs():le(p.window)) end
    if p.dilation > 1 then only(((at - j) % p.dilation):eq(0)) end
    if p.block > 0 then only((at // p.block):eq(j // p.block)) end
    if seen and p.sinks > 0 then
      local first = j:lt(p.sinks)
      seen = seen | (p.causal and first & j:le(at) or first)
    end
    local o = g:attend { keys = "j", score = t.q:dot(t.k, "d") * p.scale, where = seen, value = t.v }
    g:output("o", o.out, "b (h r) i d")
  end,
}
