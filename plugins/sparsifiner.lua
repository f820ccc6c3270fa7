-- SPDX-License-Identifier: Apache-2.0
-- A low-rank predictor guesses which pairs of tokens matter, per image, head and row; attention
-- runs on those pairs. The class token, number 0, is seen as any other, and sees all.
local lap, nn, vit = require "lap", require "lib.nn", require "lib.vit"

local function width(p) return p.dim // p.num_heads end
local function rank(p) return p.num_tokens // p.reduce_n_factor end

-- Entries of the coefficients over r that count. Rows of inactive tokens are uniform; there, and
-- only there, equals go to the higher index, as in the authors' run.
local function sparse(coef, p)
  if p.coef_topk > 0 then
    return lap.where(coef:flip "r":top("r", p.coef_topk):flip "r", coef, 0)
  end
  return p.coef_threshold > 0 and lap.where(coef:gt(p.coef_threshold), coef, 0) or coef
end

-- Connectivity of token n with token m, [b h n m]: coefficients of the query times a basis over the tokens.
local function predict(g, q, k, live, pre, p)
  local sizes = { n = p.num_tokens, r = rank(p), e = width(p) // p.reduce_c_factor }
  pre = pre .. "attn.mask_predictor."
  local function reduced(x, name) return live(nn.linear(x, pre .. name, "d -> e", sizes)) end
  local down = g:weight(pre .. "proj_n", "n r", sizes)
  local up = p.share_inout_proj and down or g:weight(pre .. "proj_back_n", "n r", sizes)
  local K = reduced(k, "proj_c_k"):dot(down, "n")
  local coef = (reduced(q, "proj_c_q"):dot(K, "e") * p.num_heads ^ -0.5):softmax "r"
  local basis = up:abs():as "n -> m"
  return sparse(coef, p):dot(lap.where(basis:gt(p.basis_threshold), basis, 0), "r")
end

local function per_block(value)                    -- the default of a list with an entry per block
  return function(p)
    local list = {}
    for i = 1, #p.attn_keep_rates do list[i] = value end
    return list
  end
end
local function kept_of(p, i) return math.ceil(p.token_keep_rates[i] * (p.num_tokens - 1)) end

local function refuse(p)
  if p.dim % p.num_heads ~= 0 then return "dim must be a multiple of num_heads" end
  if rank(p) < 1 then return "reduce_n_factor exceeds num_tokens" end
  if width(p) // p.reduce_c_factor < 1 then return "reduce_c_factor exceeds dim/num_heads" end
  if p.coef_topk > rank(p) then return "coef_topk exceeds num_tokens // reduce_n_factor" end
  if p.dim * p.mlp_ratio < 1 then return "mlp_ratio leaves no hidden channel" end
  local n = #p.attn_keep_rates
  if n == 0 then return "attn_keep_rates is empty" end
  if #p.token_keep_rates ~= n or #p.prune_tokens ~= n then
    return "attn_keep_rates, token_keep_rates and prune_tokens must be of equal length"
  end
  local alive = p.num_tokens - 1
  for i = 1, n do
    if p.attn_keep_rates[i] <= 0 then return "attn_keep_rates must lie in (0, 1]" end
    if p.token_keep_rates[i] <= 0 then return "token_keep_rates must lie in (0, 1]" end
    if p.prune_tokens[i] and kept_of(p, i) > alive then
      return ("token_keep_rates: block %d would keep %d tokens of %d"):format(i - 1, kept_of(p, i), alive)
    end
    if p.prune_tokens[i] then alive = kept_of(p, i) end
  end
end

return {
  name = "sparsifiner", family = "sparse",
  paper = "Sparsifiner: Learning Sparse Instance-Dependent Attention for Efficient Vision Transformers",
  doc = "transformer blocks whose attention mask is predicted per image, with token pruning",
  authors = "Cong Wei, Brendan Duke, Ruowei Jiang, Parham Aarabi, "
    .. "Graham W. Taylor, Florian Shkurti", year = 2023,
  reference = "lim142857/Sparsifiner, src/models/sparsifiner.py, inference (MIT)",
  params = {
    dim = { "int", 384, "channels", min = 1 },
    num_heads = { "int", 6, "heads", min = 1 },
    num_tokens = { "int", 197, "tokens, the class token among them", min = 2 },
    mlp_ratio = { "float", 4.0, "hidden width over dim" },
    attn_keep_rates = { "list of float",
      { 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25 },
      "share of the keys that a row sees, per block", max = 1 },
    token_keep_rates = { "list of float", per_block(1.0),
      "share of the tokens that stay, per block", max = 1 },
    prune_tokens = { "list of bool", per_block(false), "blocks that prune tokens" },
    reduce_n_factor = { "int", 8, "tokens over the rank of the predictor", min = 1 },
    reduce_c_factor = { "int", 2, "width of a head over that of the predictor", min = 1 },
    share_inout_proj = { "bool", false, "the basis is the down-projection" },
    qkv_bias = { "bool", true, "bias of queries, keys and values" },
    basis_threshold = { "float", 0.0, "entries of the basis up to it are zero", min = 0 },
    coef_topk = { "int", 0, "coefficients that count per row; 0 = see coef_threshold", min = 0 },
    coef_threshold = { "float", 0.0, "smaller coefficients are zero; 0 = all count" },
    score_threshold = { "float", 0.0, "pairs above it are seen; 0 = by attn_keep_rates" },
    prune_rows = { "bool", false, "inactive tokens see nothing" },
  },
  dims = { B = 1 },
  refuse = refuse,
  inputs = { x = "b n=num_tokens c=dim" },
  build = function(g, p, t)
    local x, N = t.x, p.num_tokens
    local alive, kept = nil, N                     -- mask [b n], the class token always; how many others
    local is_class = x:index "n":eq(0)
    local function live(y) return alive and lap.where(alive, y, 0) or y end
    local function others(y) return y:slice("n", 1, N - 1) end
    for i, rate in ipairs(p.attn_keep_rates) do
      local pre = ("blocks.%d."):format(i - 1)
      local q, k, v = vit.qkv(vit.norm(x, pre .. "norm1"), pre, p)
      q, k, v = live(q), live(k), live(v)
      local score = predict(g, q, k, live, pre, p)
      g:output("approx_attn_" .. i - 1, others(score), "b h n m")
      if alive then score = lap.where(alive:as "n -> m", score, -math.huge) end
      local mask = p.score_threshold > 0 and score:gt(p.score_threshold)
        or score:top("m", math.min(math.ceil(rate * N), kept))
      if alive and p.prune_rows then mask = mask & alive end
      mask = mask | is_class
      g:output("attn_mask_" .. i - 1, mask, "b h n m")
      local a = g:attend { keys = "m", score = q:dot(k:as "n -> m", "d") * width(p) ^ -0.5,
        value = v:as "n -> m", where = mask }
      x = vit.finish(x, a.out, pre, p)
      if p.prune_tokens[i] then                    -- those stay that the class token attends to most
        local worth = a.weights:at("n", 0):mean "h":as "m -> n"
        if alive then worth = lap.where(alive, worth, -math.huge) end
        kept = kept_of(p, i)
        alive = lap.where(is_class, math.huge, worth):top("n", kept + 1)
      end
      x = live(x)
      if alive then g:output("token_mask_" .. i - 1, others(alive), "b n") end
    end
    g:output("out", x, "b n c")
  end,
}
