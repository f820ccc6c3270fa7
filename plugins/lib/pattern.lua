-- SPDX-License-Identifier: Apache-2.0
-- pattern.lua: which keys a query sees. Predicates are conditions over the places i of queries and
-- j of keys (any integer values), for `where` of attend; join them with & and |. Lists enumerate
-- the keys of each query along new axes, where the cost shall be the list's and not that of all
-- keys.
local lap = require "lap"
local pattern = {}

-- Predicates -------------------------------------------------------------------------------------
function pattern.causal(i, j) return j:le(i) end
-- A distance of at most `reach` to both sides, or { before =, after = }.
function pattern.sliding(i, j, reach)
  local o = type(reach) == "table" and reach or { before = reach, after = reach }
  return (i - j):le(o.before or 0) & (j - i):le(o.after or 0)
end
function pattern.window(i, j, size)                -- the query and the size - 1 keys before it
  return pattern.sliding(i, j, { before = size - 1 })
end
function pattern.dilated(i, j, step) return ((i - j) % step):eq(0) end
-- Strided attention of the Sparse Transformer: the own run of `step`, and the last of each run.
function pattern.strided(i, j, step)
  return (j % step):eq(step - 1) | (i // step):eq(j // step)
end
function pattern.block(i, j, size) return (i // size):eq(j // size) end
-- Blocks at most `before` and `after` numbers away.
function pattern.block_band(i, j, size, before, after)
  return pattern.sliding(i // size, j // size, { before = before, after = after or before })
end
function pattern.grid(i, j, size) return (i % size):eq(j % size) end   -- same place in each cell
function pattern.sinks(_, j, count) return j:lt(count) end             -- the first keys
-- The first `count` tokens see everything and are seen by everybody.
function pattern.global(i, j, count) return i:lt(count) | j:lt(count) end
-- Tokens of one document, segment or cluster; `label` has the axis n of the tokens.
function pattern.same_label(label, n, i, j) return label:at(n, i):eq(label:at(n, j)) end
-- mask [p m]: whether the block p of queries sees the block m of keys.
function pattern.block_mask(mask, p, m, i, j, size)
  return mask:at { [p] = i // size, [m] = j // size }
end

-- The `size` keys nearest to the query of n tokens, shifted inwards at the borders (neighbourhood).
function pattern.clamped(i, j, size, n)
  local first = (i - size // 2):atleast(0):atmost(n - size)
  return j:ge(first) & j:lt(first + size)
end
-- A sliding window and the first `count` keys.
function pattern.band_sinks(i, j, reach, count)
  return pattern.sliding(i, j, reach) | (pattern.sinks(i, j, count) & j:le(i))
end
-- About share * 100 % of the blocks, the same at each run; `seed` is any integer.
function pattern.random_blocks(i, j, size, share, seed)
  local mixed = (i // size * 7919 + j // size * 10457 + (seed or 0) * 7331 + 4099) % 32749
  return (mixed * mixed % 32749):lt(share * 32749 // 1)
end

-- What each takes, said where one of them is missing.
for _, row in ipairs { { "causal", "i j" }, { "sliding", "i j reach" }, { "window", "i j size" },
  { "dilated", "i j step" }, { "strided", "i j step" }, { "block", "i j size" },
  { "block_band", "i j size before" }, { "grid", "i j size" }, { "sinks", "i j count" },
  { "global", "i j count" }, { "same_label", "label n i j" }, { "block_mask", "mask p m i j size" },
  { "clamped", "i j size n" }, { "band_sinks", "i j reach count" }, { "random_blocks", "i j size share" } } do
  local name, f, words = row[1], pattern[row[1]], {}
  for word in row[2]:gmatch "%S+" do words[#words + 1] = word end
  pattern[name] = function(...)
    for k, word in ipairs(words) do
      if select(k, ...) == nil then
        lap.fail("pattern.%s(%s) lacks '%s'", name, table.concat(words, ", "), word)
      end
    end
    return f(...)
  end
end
pattern.documents = pattern.same_label

-- Combinations ----------------------------------------------------------------------------------
function pattern.union(first, ...)
  for _, other in ipairs { ... } do first = first | other end
  return first
end
function pattern.intersection(first, ...)
  for _, other in ipairs { ... } do first = first & other end
  return first
end
function pattern.complement(a) return ~a end
function pattern.minus(a, b) return a & ~b end
-- Any predicate with the query seen `by` places further on: shift(pattern.block, 2)(i, j, 8).
function pattern.shift(f, by)
  return function(i, j, ...) return f(i + by, j, ...) end
end
-- The k-th predicate of the list for head k - 1; h counts the heads.
function pattern.per_head(h, list)
  local out
  for k, a in ipairs(list) do
    local own = h:eq(k - 1) & a
    out = out and out | own or own
  end
  return out
end
-- The predicate f along each axis of a grid: lists of the places of queries and keys, and what f takes
-- more, one for all axes or a list.
function pattern.per_axis(f, is, js, more)
  local out
  for a, i in ipairs(is) do
    local own = f(i, js[a], type(more) == "table" and more[a] or more)
    out = out and out & own or own
  end
  return out
end

-- Lists: { place = { y = index, .. }, keys = "wy wx", where = condition or nil } -----------------
local function along(x, grid, per_axis)
  grid = lap.pack(grid)
  local names, out = grid:fresh "w", { place = {} }
  for a, axis in ipairs(grid) do
    local index, ok = per_axis(a, x.g, axis, names[a])
    out.place[axis] = index
    if ok then out.where = out.where and out.where & ok or ok end
  end
  out.keys = tostring(names)
  return out
end

-- One axis: the size nearest of n tokens to place i. Clamped at the borders, so that every query
-- has `size` keys; with `causal` they end at the query, and the first queries have fewer.
-- Neighbours lie `dilation` apart; queries in a run of `stride` share those of the run's leader.
local function nearest(i, n, w, o)
  local rest, at = i % o.dilation, i // o.dilation
  local m = (n - rest + (o.dilation - 1)) // o.dilation    -- tokens in the dilation group
  local run = at // o.stride * o.stride
  if o.causal then
    local to = (run + (o.stride - 1)):atmost(m - 1) - (o.size - 1) + w
    return rest + to * o.dilation, to:ge(0) & to:le(at)
  end
  local leader = (run + o.stride // 2):atmost(m - 1)
  local first = (leader - o.size // 2):atleast(0):atmost(m - o.size)
  return rest + (first + w) * o.dilation
end
-- o.size, o.dilation, o.stride, o.causal: one for all axes of the grid or a list.
function pattern.neighbours(x, grid, o)
  grid = lap.pack(grid)
  local size, dilation = grid:each(o.size), grid:each(o.dilation, 1)
  local stride, causal = grid:each(o.stride, 1), grid:each(o.causal, false)
  return along(x, grid, function(a, g, axis, name)
    return nearest(x:index(axis), x:size(axis), g:index(name, size[a]),
      { size = size[a], dilation = dilation[a], stride = stride[a], causal = causal[a] })
  end)
end
-- Halos: queries in blocks (x has the axes `blocks`, "Y X" for the grid "y x") see their block of
-- `size` keys and `halo` more to each side. Outside the map: read with a fill, or use `where`.
function pattern.halo(x, grid, blocks, o)
  grid, blocks = lap.pack(grid), lap.pack(blocks)
  return along(x, grid, function(a, g, axis, name)
    local key = x:index(blocks[a]) * o.size - o.halo + g:index(name, o.size + 2 * o.halo)
    local n = o.extent and o.extent[axis]
    return key, n and key:ge(0) & key:lt(n) or nil
  end)
end

return pattern
