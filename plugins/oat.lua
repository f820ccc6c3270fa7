-- SPDX-License-Identifier: Apache-2.0
-- A scanpath as a sequence of objects: pictures and places on a shelf in, a pointer to the next object
-- out, teacher-forced or greedy with a cache. The search target's token doubles as the end.
local lap, nn, transformer = require "lap", require "lib.nn", require "lib.transformer"

local function looks(p, x)                         -- pictures [.. y x i] -> [.. e]
  local function conv(a, name, spec, k, width)
    local o = { k = k, pad = 0, sizes = { c = width } }
    return nn.relu(nn.conv(a, "cnn_embedding." .. name, spec, o))
  end
  x = nn.max_pool(conv(x, "cnn1.0", "i -> c", 5, 16), "y x", { size = 5 })
  x = nn.pyramid(conv(x, "cnn2.0", "c -> c", 3, 32), "y x", "c y x -> k", p.spp)
  return nn.linear(x, "cnn_embedding.fc", "k -> e", { e = p.emb // 2 })
end

local function stack(p, layers)
  return { width = p.emb, heads = p.heads, ffn = p.ffn, eps = p.ln_eps, layers = layers }
end
-- Logits over the symbols p: scores of the objects, of the end, and of padding (none).
local function point(p, y, memory)
  local S = {}
  for i = 0, p.ca_heads - 1 do
    local pre = ("cross_attentions.%d."):format(i)
    local to = nn.linear(memory, pre .. "encode_fc", "e -> e")
    local score = nn.linear(y, pre .. "decode_fc", "e -> e"):dot(to, "e")
    S[i + 1] = score:pad("p", 0, 1) / math.sqrt(p.ca_dk)
  end
  if p.ca_heads == 1 then return S[1] end
  return nn.linear(lap.stack("i", S), "readout", "i -> o", { o = 1 }):at("o", 0)
end
local function decode(p, y, memory, past)
  y = transformer.decoder(y, memory, "transformer_decoder.", stack(p, p.dec_layers), "p", past)
  return point(p, y, memory)
end

-- The encoded shelf, and embed(ids, time), the decoder's input for a symbol at a step.
local function shelf(g, p, t, pe)
  local P, E, C, n = p.rows * p.cols, p.emb, p.cols, g:index("p", p.rows * p.cols)
  local function place(row, col, flag)             -- rows behind the table are zero
    local z = { pe:at({ q = row }, 0), pe:at({ q = col }, 0), pe:at({ q = flag }, 0) }
    return lap.stack("z", z):merge "z w -> e":slice("e", 0, E // 2)
  end
  local function join(picture, at) return lap.cat("e", { picture, at }) end
  local object, blank = looks(p, t.images), looks(p, g:full(1.0, "y x i", t.images))
  local goal = join(object:at("p", t.target), place(t.target // C, t.target % C, 1)):unit "p"
  local tokens = lap.cat("p", { join(object, place(n // C, n % C, 0)), goal })
  local memory = transformer.encoder(tokens, "transformer_encoder.", stack(p, p.enc_layers), "p")
  local function embed(ids, time)
    local first = time:eq(0)
    local row, col = lap.where(first, p.rows // 2, ids // C), lap.where(first, C // 2, ids % C)
    local picture = lap.where(ids:ge(P), blank, object:at("p", ids:atmost(P - 1)))
    local angle = time * (g:index("j", E // 2) * (-2 / E * math.log(10000))):exp()
    local wave = lap.stack("z", { angle:sin(), angle:cos() }):merge "j z -> e"
    return join(picture, place(row, col, ids:eq(t.target):int())) + wave
  end
  return memory, embed
end

local function forward(g, p, t, pe, memory, embed)
  local ids, i = t.scanpath, t.scanpath:index "t"
  local function key(a) return a:as "t -> j" end
  local see = key(i):le(i) & key(ids):ne(p.rows * p.cols + 1)
  local function past(_, k, v) return key(k), key(v), see end
  g:output("logits", decode(p, embed(ids, i), memory, past), "t b p")
  -- cosines of the table's rows follow a Gaussian of their distance, their lengths are equal
  local size, q, N = (pe * pe):sum "w":sqrt(), pe:index "q", g:number(pe:size "q")
  local u, d = pe / size:atleast(1e-12), q - q:as "q -> r"
  local e, f = u:dot(u:as "q -> r", "w") - (d * d / -8.0):exp(), size - size:mean "q"
  g:output("pe_loss", ((e * e):sum "q r" + (f * f):mean "q") / (N * (N - 1)), "1")
end

local function greedy(g, p, memory, embed)
  local P, L, E = p.rows * p.cols, p.max_len, p.emb
  local state = { step = g:number(0), id = g:number(P + 2), done = g:number(false),
    path = g:full(-1, "s", { s = L }), logits = g:zeros("s p", { s = L, p = P + 2 }) }
  for i = 0, p.dec_layers - 1 do
    local empty = g:zeros("j h d", { j = L, h = p.heads, d = E // p.heads })
    state["k" .. i], state["v" .. i] = empty, empty
  end
  local run = g:loop {
    limit = L, state = state, test = function(a) return ~a.done end,
    body = function(a)
      local new = { step = a.step + 1 }
      local logits = decode(p, embed(a.id, a.step), memory, function(i, k, v)
        k, v = a["k" .. i]:append("j", a.step, k), a["v" .. i]:append("j", a.step, v)
        new["k" .. i], new["v" .. i] = k, v
        return k, v, k:index "j":le(a.step)
      end)
      local allowed = logits:index "p":lt(lap.where(a.step:eq(0), P, P + 1))     -- no end at first
      new.id = lap.where(allowed, logits, -math.huge):argmax "p"
      new.done = new.id:eq(P)
      new.path = a.path:append("s", a.step, new.id)
      new.logits = a.logits:append("s", a.step, logits)
      return new
    end,
  }
  g:output("scanpath", run.path, "s")
  g:output("step_logits", run.logits, "s p")
end

local function refuse(p)
  if p.emb % 2 ~= 0 then return "emb must be even" end
  if p.emb % p.heads ~= 0 then return "heads must divide emb" end
end
local function check_ids(g, p, t)
  local P, ids = p.rows * p.cols, t.scanpath
  g:require((t.target:ge(0) & t.target:lt(P)):all(), "target is no object of the shelf")
  if ids then g:require((ids:ge(0) & ids:le(P + 2)):all(), "scanpath: ids are 0..rows*cols+2") end
  for _, axis in ipairs { "y", "x" } do
    g:require(g:number(t.images:size(axis)):ge(19), "pictures must be at least 19 x 19")
  end
end

return {
  name = "oat", family = "pointer",
  paper = "OAT: Object-Level Attention Transformer for Gaze Scanpath Prediction",
  doc = "scanpaths over objects: an encoder, a decoder, a pointer",
  reference = "HKUST-NISL/oat_eccv24, src/model/ (no licence), run, not copied",
  params = {
    mode = { "enum", { "forward", "decode" }, "forward", "teacher-forced, or greedy" },
    rows = { "int", 6, "rows of the shelf", min = 1 }, cols = { "int", 14, "columns", min = 1 },
    emb = { "int", 512, "width, even", min = 2 }, heads = { "int", 4, "heads", min = 1 },
    ffn = { "int", 512, "hidden width", min = 1 },
    enc_layers = { "int", 4, "layers of the encoder", min = 0, max = 32 },
    dec_layers = { "int", 4, "of the decoder", min = 0, max = 32 },
    ca_heads = { "int", 2, "heads of the pointer", min = 1, max = 32 },
    ca_dk = { "int", 512, "its scores are divided by the root of this", min = 1 },
    spp = { "int", 2, "levels of the pictures' pyramid", min = 1, max = 4 },
    ln_eps = { "float", 1e-5, "of the layer norms", min = 0 },
    max_len = { "int", 16, "decode: longest path", min = 1 },
  },
  dims = { B = 1, T = 12, IH = 64, IW = 32, PE = 16, PW = "(emb + 5) // 6" },
  refuse = refuse,
  inputs = function(p)
    local b = p.mode == "decode" and "1" or "b=B"
    return { images = b .. " p=rows*cols y=IH x=IW i=3", target = "int " .. b,
      scanpath = p.mode == "forward" and "int t=T b=B" or nil }
  end,
  build = function(g, p, t)
    local size = { q = lap.dim.symbol "PE", w = lap.dim.symbol "PW" }
    local pe = g:weight("pe", "q w", size)
    g:require(g:number(size.q):ge(math.max(p.rows, p.cols)), "pe has fewer rows than the shelf")
    g:require(g:number(size.w * 6):ge(p.emb), "pe has too few columns for emb")
    check_ids(g, p, t)
    local memory, embed = shelf(g, p, t, pe)
    if p.mode == "forward" then forward(g, p, t, pe, memory, embed) else greedy(g, p, memory, embed) end
  end,
}
