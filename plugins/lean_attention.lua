-- SPDX-License-Identifier: Apache-2.0
-- Decode attention as one stream of key tiles over all requests and key heads, cut into equal
-- shares for a number of workers. What a worker has of one row is a segment; the segments of a row
-- merge by an associative operator.
local lap = require "lap"

-- Segments in the order of rows, then workers: request b, key head g, worker, row and tiles from ..
-- upto - 1 of the row, all over the ragged axis s; count: how many.
local function segments(g, p, len)
  local G, W, T = p.num_kv_heads, p.num_workers, p.tile
  local tiles, worker = (len + (T - 1)) // T, g:index("w", W)
  local first = (tiles:cumsum "b" - tiles) * G + g:index("g", G) * tiles    -- of row (b g) in the stream
  local total = tiles:sum "b" * G
  local function cut(w) return total // W * w + w:atmost(total % W) end      -- where worker w starts
  local from, upto = cut(worker):atleast(first), cut(worker + 1):atmost(first + tiles)
  local found = from:lt(upto):merge "b g w -> m":keep "m -> s"
  local w, row = found.index % W, found.index // W
  local s = { b = row // G, g = row % G, worker = w, row = row, count = found.count }
  local at = { b = s.b, g = s.g, w = w }
  s.from, s.upto = (from - first):at(at), (upto - first):at(at)
  return s
end

return {
  name = "lean_attention", family = "decoding",
  doc = "decode attention in equal shares of a stream of key tiles",
  paper = "Lean Attention: Hardware-Aware Scalable Attention Mechanism for the Decode-Phase of Transformers",
  reference = "the paper's algorithm: dense attention for the results, the schedule for the segments",
  params = {
    num_heads = { "int", 32, "query heads", min = 1 },
    num_kv_heads = { "int", function(p) return p.num_heads end, "key heads", min = 1 },
    head_dim = { "int", 128, "width of queries and keys", min = 1 },
    value_dim = { "int", function(p) return p.head_dim end, "width of values", min = 1 },
    tile = { "int", 256, "keys of a tile", min = 1 },
    num_workers = { "int", 16, "workers", min = 1 },
    scale = { "float", 0, "factor of the scores; 0 = 1/sqrt(head_dim)" },
  },
  dims = { B = 4, N = 16384 },
  made = { context_lens = "N // B + N % B * max(0, 1 - b)" },
  refuse = function(p)
    if p.num_heads % p.num_kv_heads ~= 0 then return "num_kv_heads must divide num_heads" end
  end,
  -- query head (g r) reads key head g; n runs over the keys of all requests, one behind the other
  inputs = {
    q = "b (g=num_kv_heads r=num_heads//num_kv_heads) d=head_dim",
    k = "n g=num_kv_heads d=head_dim", v = "n g=num_kv_heads e=value_dim", context_lens = "int b",
  },
  build = function(g, p, t)
    local len, N, T = t.context_lens, t.k:size "n", p.tile
    g:require(len:ge(1), "context_lens: a request has no key")
    g:require(len:sum "b":eq(N), "context_lens do not add up to the rows of k")
    local s = segments(g, p, len)
    local start = (len:cumsum "b" - len):at("b", s.b) + s.from * T
    local count = (s.upto * T):atmost(len:at("b", s.b)) - s.from * T
    local key = start + g:index("j", N):ragged("j", count)
    local scale = p.scale ~= 0 and p.scale or p.head_dim ^ -0.5
    local score = t.q:at { b = s.b, g = s.g }:dot(t.k:at { n = key, g = s.g }, "d") * scale
    local part = g:attend { keys = "j", score = score, value = t.v:at { n = key, g = s.g } }
    -- the merge is again a softmax, of the segments' log-sum-exps
    local is_mine = s.row:eq(len:index "b" * p.num_kv_heads + g:index("g", p.num_kv_heads))
    local whole = g:attend { keys = "s", score = part.lse, value = part.out, where = is_mine }
    g:output("out", whole.out, "b (g r) e")
    g:output("lse", whole.lse, "b (g r)")
    local crop = { crop = { s = s.count } }
    g:output("segments", lap.stack("f", { s.worker, s.row, s.from, s.upto }), "s f", crop)
    g:output("part_max", part.max, "s r", crop)
    g:output("part_sum", part.sum, "s r", crop)
    g:output("part_acc", part.out * part.sum, "s r e", crop)
  end,
}
