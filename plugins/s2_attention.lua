-- SPDX-License-Identifier: Apache-2.0
-- Static block sparsity: every head sees a window of blocks and one column of blocks in every
-- stride. The columns are shifted from head to head, so that the heads together hold the whole
-- context.
local lap = require "lap"

-- The window in blocks before and behind the query's, which counts on both sides.
local function window(p)
  local w = p.local_blocks
  if type(w) == "table" then return w[1], w[2] end
  return w, p.causal and 1 or w
end
local function is_relative(p)
  if p.vert_position == "auto" then return not p.causal end
  return p.vert_position == "relative"
end

-- Whether block i of queries sees block j of keys in key head `head`. A homogeneous pattern is that
-- of one head.
local function sees(p, i, j, head)
  local left, right = window(p)
  local see
  if is_relative(p) then                           -- columns count from the window's ends
    local gap = (i - j - left + 1):atleast(0) + (j - i - right + 1):atleast(0)
    see = (gap % p.vert_stride):eq(0)
  else                                             -- columns count from the first block, a shard per head
    local step = p.head_sliding_step
    if step == 0 then step = math.max(1, p.vert_stride // (p.homo_head and 1 or p.num_heads)) end
    local shard = j + (p.homo_head and 0 or head) * step + p.head_sliding_offset
    see = (shard % p.vert_stride):eq(0) | ((i - j):lt(left) & (j - i):lt(right))
  end
  if p.num_dense_heads > 0 then see = see | head:ge(p.num_kv_heads - p.num_dense_heads) end
  return p.causal and see & j:le(i) or see
end

local function refuse_window(p)
  local w = p.local_blocks
  if type(w) == "table" then
    if p.causal then return "local_blocks must be one number of blocks when causal" end
    if #w ~= 2 or math.type(w[1]) ~= "integer" or math.type(w[2]) ~= "integer" then
      return "local_blocks must be a number of blocks or a pair [left, right]"
    end
    if w[1] < 1 or w[2] < 1 then return "local_blocks must be at least 1 on both sides" end
  elseif math.type(w) ~= "integer" then
    return "local_blocks must be a number of blocks or a pair [left, right]"
  elseif w < 1 and (p.causal or p.vert_stride > 1) then
    return "local_blocks must be at least 1: some query would see nothing"
  end
end

return {
  name = "s2_attention", family = "sparse",
  paper = "S2-Attention: Hardware-Aware Context Sharding Among Attention Heads",
  doc = "block-sparse attention, each head with its own shard of the context",
  authors = "Xihui Lin, Yunan Zhang, Suyu Ge, Liliang Ren, Barun Patra, Vishrav Chaudhary, "
    .. "Hao Peng, Xia Song", year = 2024,
  reference = "linxihui/dkernel, utils.py, under a dense masked softmax (MIT)",
  params = {
    num_heads = { "int", 16, "query heads", min = 1 },
    num_kv_heads = { "int", function(p) return p.num_heads end, "key heads, each with a pattern", min = 1 },
    head_dim = { "int", 128, "width of a head", min = 1 },
    block_size = { "int", 64, "tokens of a block", min = 1 },
    local_blocks = { "any", 16, "window in blocks, the query's among them; [left, right] if not causal" },
    vert_stride = { "int", 16, "one column of blocks in so many; 1 = dense", min = 1 },
    homo_head = { "bool", false, "all heads have one pattern" },
    num_dense_heads = { "int", 0, "the last key heads see everything", min = 0 },
    head_sliding_step = { "int", 0, "shift from head to head; 0 = vert_stride // num_heads, at least 1" },
    head_sliding_offset = { "int", 0, "shift of the first head" },
    causal = { "bool", true, "no key after the query" },
    vert_position = { "enum", { "auto", "absolute", "relative" }, "auto",
      "where columns count from; auto: absolute if causal" },
    past_len = { "int", 0, "tokens before the first query", min = 0 },
    sm_scale = { "float", 0, "factor of the scores; 0 = 1/sqrt(head_dim)" },
  },
  dims = { B = 1, N = 8192 },
  refuse = function(p)
    if p.num_heads % p.num_kv_heads ~= 0 then return "num_kv_heads must divide num_heads" end
    if p.num_dense_heads > p.num_kv_heads then return "num_dense_heads must not exceed num_kv_heads" end
    if p.homo_head and p.num_dense_heads > 0 then return "homo_head excludes num_dense_heads" end
    return refuse_window(p)
  end,
  inputs = {
    q = "b n=N (g=num_kv_heads r=num_heads//num_kv_heads) d=head_dim",
    k = "b j=past_len+N g=num_kv_heads d=head_dim",
    v = "b j=past_len+N g=num_kv_heads d=head_dim",
  },
  build = function(g, p, t)
    local i, j = t.q:index "n" + p.past_len, t.k:index "j"
    local head, size = t.q:index "g", p.block_size
    local see = sees(p, i // size, j // size, head)
    if p.causal then see = see & j:le(i) end
    local scale = p.sm_scale ~= 0 and p.sm_scale or p.head_dim ^ -0.5
    local o = g:attend { keys = "j", score = t.q:dot(t.k, "d") * scale, value = t.v, where = see }
    g:output("out", o.out, "b n (g r) d")
    g:output("lse", o.lse, "b (g r) n")
    -- the pattern itself, the same for the query heads r of a key head
    local blocks = lap.dim.ceil(t.k:size "j", size)
    local mask = g:full(true, "g r", t.q) & sees(p, g:index("p", blocks), g:index("m", blocks), head)
    g:output("block_mask", mask, "(g r) p m")
  end,
}
