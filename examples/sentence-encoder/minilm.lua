-- Sentence embeddings by all-MiniLM-L6-v2 (a BERT): the mean over a sentence's tokens, of length one.
local lap, nn = require "lap", require "lib.nn"

return {
  name = "minilm", family = "encoder", doc = "all-MiniLM-L6-v2: sentences to 384 numbers of unit length",
  paper = "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained "
    .. "Transformers",
  params = {
    layers = { "int", 6, "layers", min = 1 }, dim = { "int", 384, "width of a token", min = 1 },
    heads = { "int", 12, "attention heads", min = 1 },
    hidden = { "int", 1536, "width between the two linear maps", min = 1 },
    vocabulary = { "int", 30522, "word pieces", min = 1 },
    positions = { "int", 512, "longest sentence", min = 1 },
  },
  dims = { B = 1, N = 128 },
  inputs = { input_ids = "int b=B n=N", attention_mask = "int b=B n=N" },
  refuse = function(p) if p.dim % p.heads ~= 0 then return "heads must divide dim" end end,
  build = function(g, p, t)
    local s = { c = p.dim, h = p.heads, d = p.dim // p.heads, f = p.hidden }
    local function norm(x, name) return nn.layernorm(x, name .. ".LayerNorm", "c", 1e-12) end

    local E = "embeddings."
    local words = g:weight(E .. "word_embeddings.weight", "w c", { w = p.vocabulary, c = p.dim })
    local places = g:weight(E .. "position_embeddings.weight", "w c", { w = p.positions, c = p.dim })
    local kinds = g:weight(E .. "token_type_embeddings.weight", "k c", { k = 2, c = p.dim })
    local x = words:at("w", t.input_ids) + kinds:at { k = 0 } + places:at("w", t.input_ids:index("n"))
    x = norm(x, "embeddings")

    local live = t.attention_mask:gt(0)
    for l = 0, p.layers - 1 do
      local L = ("encoder.layer.%d."):format(l)
      local function heads(name) return nn.linear(x, L .. "attention.self." .. name, "c -> (h d)", s) end
      local q, k, v = heads "query", heads "key":as("n -> m"), heads "value":as("n -> m")
      local score = q:dot(k, "d") * s.d ^ -0.5
      local o = g:attend { keys = "m", score = score, where = live:as("n -> m"), value = v }
      x = norm(x + nn.linear(o.out, L .. "attention.output.dense", "(h d) -> c", s), L .. "attention.output")
      local f = nn.gelu(nn.linear(x, L .. "intermediate.dense", "c -> f", s))
      x = norm(x + nn.linear(f, L .. "output.dense", "f -> c", s), L .. "output")
    end

    local share = lap.where(live, 1.0, 0.0)                             -- of a token in its sentence's mean
    local mean = (x * share):sum("n") / share:sum("n"):atleast(1e-9)
    g:output("embedding", nn.unit(mean, "c"), "b c")
  end,
}
