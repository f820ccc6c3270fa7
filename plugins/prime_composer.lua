-- SPDX-License-Identifier: Apache-2.0
-- Scores recorded on a reference object replace, before the softmax, those of the region where the
-- object is placed; subject words are read inside the region only. The cases follow the authors' code.
local lap, nn, diffusers = require "lap", require "lib.nn", require "lib.diffusers"

local function trunc(x) return math.tointeger(x >= 0 and math.floor(x) or math.ceil(x)) end
local function geometry(p)                         -- the box in the reference, its corner in the picture
  local S, H, W, h, w = p.size, p.target_height, p.target_width, p.height, p.width
  local top, left = trunc(0.5 * (H - h) / H * S), trunc(0.5 * (W - w) / W * S)
  local nh, nw = trunc(0.5 * (H + h) / H * S) - top, trunc(0.5 * (W + w) / W * S) - left
  return { top = top, left = left, nh = nh, nw = nw,
    row = trunc(p.center_row * S) - (nh + 1) // 2, col = trunc(p.center_col * S) - (nw + 1) // 2 }
end

-- A block on x [n c]. o.keys(y): what self-attention reads, on axis o.axis; o.edit(score, i) changes
-- its scores; o.where: the words that a position may read.
local function block(g, p, x, context, i, o)
  local pre = ("blocks.%d."):format(i)
  local function norm(a, k) return nn.layernorm(a, pre .. "norm" .. k, "c") end
  local edit = o.edit and function(score) return o.edit(score, i) end
  local y = norm(x, 1)
  local a, score = diffusers.attention(y, o.keys(y), o.axis, pre .. "attn1.",
    { heads = p.n_heads, head = "h", edit = edit })
  x = x + a
  x = x + diffusers.attention(norm(x, 2), context, "l", pre .. "attn2.",
    { heads = p.n_heads, from = "w", where = o.where })
  return x + diffusers.geglu(norm(x, 3), pre .. "ff."), score
end
local function run(g, p, x, context, o)            -- all blocks: the result and their scores
  local scores = {}
  for i = 0, p.n_blocks - 1 do x, scores[i + 1] = block(g, p, x, context, i, o) end
  return x, scores
end

-- The foreground places of the box in order: in the reference, in the composite, and as a list; the
-- whole box where there are none.
local function foreground(g, p, segmentation)
  local b, S = geometry(p), p.size
  local e = g:index("e", b.nh * b.nw)
  local seg = segmentation:at { f = 0, k = 0 }
  local front = seg:at { r = b.top + e // b.nw, s = b.left + e % b.nw }:eq(1)
  local is_some = front:any "e"
  local list = (front | ~is_some):keep "e -> m"
  local i, j = list.index // b.nw, list.index % b.nw
  return { src = (b.top + i) * S + b.left + j, dst = (b.row + i) * S + b.col + j,
    list = list, is_some = is_some }
end

-- Positions of the map inside the box; the last row and column never are.
local function placed_box(g, p)
  local b, S, n = geometry(p), p.size, g:index("n", p.size * p.size)
  local function within(v, from, len) return v:ge(from) & v:lt(math.min(S - 1, from + len)) end
  return within(n // S, b.row, b.nh) & within(n % S, b.col, b.nw)
end

local function refuse(p)
  if p.dim % p.n_heads ~= 0 then return "n_heads must divide dim" end
  if p.height > p.target_height or p.width > p.target_width then
    return "height and width must be at most target_height and target_width"
  end
  local b, S = geometry(p), p.size
  if b.nh < 1 or b.nw < 1 then return "the object's box is empty" end
  if b.row < 0 or b.row + b.nh > S or b.col < 0 or b.col + b.nw > S then
    return "the placed object leaves the map: see center_row and center_col"
  end
end
local function check_words(g, p, words)            -- inside the text, and some word is no subject
  local most, n, seen = -1, 0, {}
  for _, id in ipairs(p.subject_ids) do
    most, n, seen[id] = math.max(most, id), seen[id] and n or n + 1, true
  end
  g:require(g:number(words):gt(most), "subject_ids must be positions of the text")
  g:require(g:number(words):gt(n), "subject_ids leave no word for positions outside the region")
end

return {
  name = "prime_composer", family = "editing",
  paper = "PrimeComposer: Faster Progressively Combined Diffusion for Image Composition with "
    .. "Attention Steering",
  doc = "self-attention scores of an object steer those of the picture it is put into",
  reference = "CodeGoat24/PrimeComposer, ptp_scripts/ptp_utils.py (Apache-2.0)",
  params = {
    dim = { "int", 16, "channels", min = 1 },
    n_heads = { "int", 4, "heads", min = 1 },
    ctx_dim = { "int", 12, "features of a word", min = 1 },
    n_blocks = { "int", 2, "blocks at this resolution", min = 1, max = 64 },
    size = { "int", 10, "side of the map", min = 1, max = 4096 },
    target_height = { "int", 512, "rows of the picture", min = 1 },
    target_width = { "int", 512, "columns of the picture", min = 1 },
    height = { "int", 260, "rows of the object, centred in the reference", min = 1 },
    width = { "int", 310, "its columns", min = 1 },
    center_row = { "float", 0.55, "where it is placed", min = 0, max = 1 },
    center_col = { "float", 0.6, "where it is placed", min = 0, max = 1 },
    subject_ids = { "list of int", { 2, 3 }, "places of the subject's words in the text", min = 0 },
    inject = { "bool", true, "early steps: the recorded scores are put in" },
    guidance = { "float", 3.0, "scale of the conditional over the unconditional branch" },
  },
  dims = { L = 77, F = 1 },
  bench = { dim = 640, n_heads = 10, ctx_dim = 1024, size = 32 },
  refuse = refuse,
  inputs = { x = "n=size*size c=dim", x_ref = "n=size*size c=dim", background = "n=size*size c=dim",
    context_cond = "l=L w=ctx_dim", context_uncond = "l=L w=ctx_dim",
    segmentation = "int (r=size f=F) (s=size k=F)" },
  build = function(g, p, t)
    check_words(g, p, t.context_cond:size "l")
    local fg, N = foreground(g, p, t.segmentation), t.x:size "n"
    local _, store = run(g, p, t.x_ref, t.context_cond,
      { axis = "m", keys = function(y) return y:at("n", fg.src) end })
    -- the place in the list of each position of the composite, -1 outside the region
    local slot = fg.list.index:index "m"
    slot = slot:scatter("m", { n = fg.dst }, { n = N }, { mode = "set", base = -1 })
    slot = lap.where(fg.is_some, slot, -1)
    local region, to = slot:ge(0), slot:as "n -> j"
    local function inject(score, i)                -- of [n j]; where both are inside the row wins
      local rows = store[i + 1]:as "n -> j":at({ m = slot }, 0)
      local columns = store[i + 1]:at({ m = to }, 0)
      return lap.where(region, rows, lap.where(to:ge(0), columns, score))
    end
    local is_subject, word = g:number(false), t.context_cond:index "l"
    for _, id in ipairs(p.subject_ids) do is_subject = is_subject | word:eq(id) end
    local function keys(y) return y:as "n -> j" end
    local free = run(g, p, t.x, t.context_uncond, { axis = "j", keys = keys })
    local steered = run(g, p, t.x, t.context_cond, { axis = "j", keys = keys,
      edit = p.inject and inject or nil, where = region | ~is_subject })
    local guided = free + p.guidance * (steered - free)
    g:output("correlation", lap.stack("i", store), "i h n m", { crop = { m = fg.list.count } })
    g:output("out", lap.stack("z", { free, steered }), "z n c")
    g:output("region", region, "n")
    g:output("blended", lap.where(placed_box(g, p), guided, t.background), "n c")
  end,
}
