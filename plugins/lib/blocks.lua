-- SPDX-License-Identifier: Apache-2.0
-- blocks.lua: what stands between the two stacks of a block transformer: vectors of blocks from
-- tokens, context vectors from blocks.
local nn = require "lib.nn"
local blocks = {}

function blocks.spec(p, which)                      -- sizes of the "block" or "token" stack
  local hidden, heads = p[which .. "_hidden"], p[which .. "_heads"]
  return { hidden = hidden, heads = heads, layers = p[which .. "_layers"],
    inter = p[which .. "_intermediate"], rotary = math.floor(hidden // heads * p.rotary_pct),
    base = p.rotary_base, eps = p.layer_norm_eps, is_parallel = p.parallel_residual }
end

function blocks.token_table(g, p, name)
  return g:weight("token_decoder." .. name, "w c", { w = p.vocab_size, c = p.token_hidden })
end
-- ids [b p t] -> one or more vectors per block, [b n c] with n = (block, vector).
function blocks.embed(g, p, ids)
  local E = p.n_embedding_tokens
  local words = { w = p.vocab_size, e = p.embed_hidden }
  local e = nn.embedding(ids, "embedder.embeddings", "w e", words)
  e = e:split("t -> j u", { j = E, u = p.block_length // E })
  if p.projection_method == "concat" then return e:merge "u e -> c":merge "p j -> n" end
  local s = { c = p.block_hidden, e = p.embed_hidden, u = p.block_length // E }
  local pre = "embedder.projection_layer."
  local x = e:dot(g:weight(pre .. "weight", "c e u", s), "e u") + g:weight(pre .. "bias", "c", s)
  return x:merge "p j -> n"
end
function blocks.expand(g, p, z)                     -- z [.. j c] -> context vectors [.. n c]
  local s = { r = p.expansion_ratio, o = p.token_hidden }
  if p.expansion_method == "" then return (z + g:zeros("r", s)):merge "j r -> n" end
  local u = nn.linear(z, "token_decoder.expansion_layer", "c -> (r o)", s, { tail = "1" })
  return u:as "o -> c":merge "j r -> n"
end

return blocks
