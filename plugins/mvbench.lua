-- SPDX-License-Identifier: Apache-2.0
-- VideoChat2's connector: learned queries, pretrained and extra ones, read the tokens of all
-- frames; the instruction sits beside them in the self-attention and has feed-forward weights of
-- its own.
local lap, nn = require "lap", require "lib.nn"

-- x [.. n c] reads the memories { x =, keys =, bias = } under one softmax; residual, then norm.
local function attention(g, p, x, memories, name)
  local sizes = { h = p.n_heads, d = p.dim // p.n_heads, c = p.dim }
  local function project(a, what) return nn.linear(a, name .. ".self." .. what, "c -> (h d)", sizes) end
  local q, parts = project(x, "query") * sizes.d ^ -0.5, {}
  for i, m in ipairs(memories) do
    parts[i] = { keys = m.keys, score = q:dot(project(m.x, "key"), "d") + (m.bias or 0),
      value = project(m.x, "value") }
  end
  local a = g:attend { parts = parts }
  local y = nn.linear(a.out, name .. ".output.dense", "(h d) -> c", sizes)
  return nn.layernorm(x + y, name .. ".output.LayerNorm", "c", p.ln_eps), a
end
local function feed_forward(p, x, inner, outer)
  local y = nn.mlp(x, inner .. ".dense", outer .. ".dense", p.ffn_dim)
  return nn.layernorm(x + y, outer .. ".LayerNorm", "c", p.ln_eps)
end

-- Queries [n c], and text [b n c] with the bias of its keys or nothing.
local function embed(g, p, t)
  local pre, groups = "qformer.bert.embeddings.", {}
  local function normed(x) return nn.layernorm(x, pre .. "LayerNorm", "c", p.ln_eps) end
  for _, group in ipairs { { "query_tokens", p.n_query }, { "extra_query_tokens", p.n_extra } } do
    if group[2] > 0 then
      table.insert(groups, g:weight(group[1], "1 n c", { n = group[2], c = p.dim }))
    end
  end
  local queries = normed(lap.cat("n", groups))
  if not p.text_input then return queries end
  local sizes = { w = lap.dim.symbol "W", m = lap.dim.symbol "M", c = p.dim }
  local words = nn.embedding(t.text_ids, pre .. "word_embeddings", "w c", sizes)
  local places = nn.embedding(t.text_ids:index "n", pre .. "position_embeddings", "m c", sizes)
  return queries, normed(words + places), (1 - t.text_mask:as "n -> m") * -10000.0
end

return {
  name = "mvbench", family = "compression",
  doc = "a Q-Former that turns the tokens of a video into a fixed number",
  paper = "MVBench: A Comprehensive Multi-modal Video Understanding Benchmark",
  reference = "OpenGVLab/Ask-Anything, video_chat2, Qformer.py, videochat2_it_vicuna.py (MIT)",
  params = {
    dim = { "int", 16, "channels", min = 1 },
    n_heads = { "int", 4, "heads", min = 1 },
    n_layers = { "int", 3, "layers", min = 1, max = 128 },
    ffn_dim = { "int", 28, "hidden width", min = 1 },
    n_query = { "int", 5, "pretrained queries", min = 0 },
    n_extra = { "int", 6, "extra queries", min = 0 },
    cross_every = { "int", 2, "every how many-th layer reads the video", min = 1 },
    text_input = { "bool", true, "the instruction joins the self-attention" },
    ln_eps = { "float", 1e-12, "of the norms" },
    vision_ln_eps = { "float", 1e-12, "of the video's norm" },
  },
  dims = { B = 1, F = 16, L = 196, CV = 1024, N = 32, W = 30522, M = 512 },
  made = { text_mask = 1 },
  bench = { dim = 768, n_heads = 12, n_layers = 12, ffn_dim = 3072, n_query = 32, n_extra = 64 },
  refuse = function(p)
    if p.dim % p.n_heads ~= 0 then return "dim must be a multiple of n_heads" end
    if p.n_query + p.n_extra < 1 then return "n_query and n_extra leave no query" end
  end,
  inputs = function(p)
    if not p.text_input then return { video_embeds = "b f l c=CV" } end
    return { video_embeds = "b f l c=CV", text_ids = "int b n", text_mask = "int b n" }
  end,
  build = function(g, p, t)
    local video = nn.layernorm(t.video_embeds, "vision_layernorm", "c", p.vision_ln_eps)
    local q, text, bias = embed(g, p, t)
    local maps = {}
    for i = 0, p.n_layers - 1 do
      local pre = ("qformer.bert.encoder.layer.%d."):format(i)
      local all = { { x = q:as "n -> m", keys = "m" } }
      if text then all[2] = { x = text:as "n -> m", keys = "m", bias = bias } end
      q = attention(g, p, q, all, pre .. "attention")
      if text then text = attention(g, p, text, all, pre .. "attention") end
      if i % p.cross_every == 0 then
        local a
        q, a = attention(g, p, q, { { x = video, keys = "f l" } }, pre .. "crossattention")
        table.insert(maps, a.weights:mean "h")
      end
      q = feed_forward(p, q, pre .. "intermediate_query", pre .. "output_query")
      if text then text = feed_forward(p, text, pre .. "intermediate", pre .. "output") end
    end
    g:output("query_states", q, "b n c")
    g:output("llm_tokens", nn.linear(q, "llama_proj", "c -> o"), "b n o")
    g:output("cross_maps", lap.stack("i", maps), "b i n (f l)")
  end,
}
