-- SPDX-License-Identifier: Apache-2.0
-- A target node reads sampled nodes of its neighbourhood, three tokens each (own features and those
-- one and two hops away), and an EMA k-means codebook of all nodes, weighted by cluster sizes.
local lap, nn = require "lap", require "lib.nn"

-- P = in^-1/2 (A + I) out^-1/2 as a function of values over the nodes; A in CSR.
local function propagation(g, ptr, col, N)
  local n = g:index("n", N)
  local degree = ptr:at("m", n + 1) - ptr:at("m", n)
  local w = g:index("w", col:size "e"):ragged("w", degree)
  local neighbour = col:at("e", ptr:at("m", n) + w)
  local out = (degree + 1):float() ^ -0.5
  local into = (g:full(1, "e", col):scatter("e", { n = col }, { n = N }) + 1):float() ^ -0.5
  return function(x)
    local u = x * out
    return (u + u:at("n", neighbour):sum "w") * into
  end
end

-- Tokens are (sampled node k, hop t); each head is as wide as the layer. z[0] reads the others.
local function local_branch(g, p, tokens, pre)
  local s = { c = p.hidden, h = p.heads, d = p.hidden, side = 2 }
  local y = nn.relu(nn.linear(tokens, "fc_in_seq.0", "f -> c", s))
  y = nn.linear(nn.linear(y, "fc_in_seq.3", "c -> c"), pre .. "att_embeddings_nope", "c -> c")
  local layer = pre .. "layers.0."
  local z = nn.layernorm(y, layer .. "self_attention_norm", "c")
  local function lin(name) return nn.linear(z, layer .. "self_attention." .. name, "c -> (h d)", s) end
  local q, k, v = lin "linear_q":queries("k t -> l u", lin "linear_k", lin "linear_v")
  local o = g:attend { keys = "l u", score = (q * p.hidden ^ -0.5):dot(k, "d"), value = v }.out
  o = nn.linear(o, layer .. "self_attention.output_layer", "(h d) -> (h d)")
  z = nn.layernorm(nn.linear(y, layer .. "res_proj", "c -> (h d)", s) + o, pre .. "final_ln", "h d")
  local own = z:at { k = 0, t = 0 }
  local to, from = g:weight(pre .. "attn_layer.weight", "1 (side h d)", s):unstack "side"
  local gate = own:dot(to, "h d") + z:dot(from, "h d") + g:weight(pre .. "attn_layer.bias", "1")
  local is_other = (z:index "k" + z:index "t"):gt(0)
  return own + g:attend { keys = "k t", score = gate, value = z, where = is_other }.out
end

local function counts(x, over, to, size)           -- how often each value occurs
  return x.g:full(1, over, x):scatter(over, { [to] = x }, { [to] = size })
end

local function global_branch(g, p, t, x, pre)
  local s = { c = p.hidden, h = p.heads, d = p.hidden, w = p.global_dim, z = p.num_centroids }
  local place = t.pos_enc:at("n", t.batch_idx)
  local qx = lap.cat("w", { nn.linear(x, pre .. "lin_proj_g", "c -> w", s), place })
  local book = g:weight(pre .. "vq._embedding_output", "z w", { z = s.z, w = 2 * s.w })
  local function lin(y, name) return nn.linear(y, pre .. "lin_" .. name .. "_g", "w -> (h d)", s) end
  local q, k, v = lin(qx, "query"), lin(book, "key"), lin(book:slice("w", 0, s.w), "value")
  local count = counts(t.c_idx, "n", "z", s.z)
  local score = q:dot(k, "d") * p.hidden ^ -0.5 + count:atleast(1):float():log()
  return g:attend { keys = "z", score = score, where = count:gt(0), value = v }.out, qx
end

-- One step of the codebook: batch norm, nearest centroids, moving averages.
local function update(g, p, t, qx, pre)
  local s, B, N = { z = p.num_centroids, w = 2 * p.global_dim }, qx:size "b", t.c_idx:size "n"
  local function vq(name, spec) return g:weight(pre .. name, spec, s) end
  local function ema(old, new, keep) return keep * old + (1 - keep) * new end
  g:require(g:number(B):ge(2), "update needs two targets for a variance")
  g:require(counts(t.batch_idx, "b", "n", N):le(1):all "n", "a node stands twice in batch_idx")
  local mean, var = qx:mean "b", qx:var "b"
  local y = (qx - mean) / (var + 1e-5):sqrt()
  local gap = y - vq("_embedding", "z w")
  local best = (gap * gap):sum "w":argmin "z"
  local size = ema(vq("_ema_cluster_size", "z"), counts(best, "b", "z", s.z), p.decay)
  local total = size:sum "z"
  size = (size + 1e-5) / (total + s.z * 1e-5) * total
  local w = ema(vq("_ema_w", "z w"), y:scatter("b", { z = best }, { z = s.z }), p.decay)
  local mean_new = ema(vq("bn.running_mean", "w"), mean, 0.9)
  local var_new = ema(vq("bn.running_var", "w"), var * (g:number(B) / (g:number(B) - 1)), 0.9)
  local new = best:scatter("b", { n = t.batch_idx }, { n = N }, { mode = "set", base = -1 })
  g:output("c_idx_new", lap.where(new:ge(0), new, t.c_idx), "n")
  g:output("ema_cluster_size_new", size, "z")
  g:output("ema_w_new", w, "z w")
  g:output("embedding_new", w / size, "z w")
  g:output("embedding_output_new", w / size * (var_new + 1e-5):sqrt() + mean_new, "z w")
  g:output("bn_mean_new", mean_new, "w")
  g:output("bn_var_new", var_new, "w")
end

local function check_graph(g, p, t, N)
  local function inside(x, n, what) g:require((x:ge(0) & x:lt(n)):all(), what) end
  inside(t.batch_idx, N, "batch_idx outside the nodes")
  inside(t.nodes_in_seq, N, "nodes_in_seq outside the nodes")
  inside(t.indices, N, "indices outside the nodes")
  if p.conv_type ~= "local" then inside(t.c_idx, p.num_centroids, "c_idx outside the centroids") end
  local ptr, is_own = t.indptr, t.nodes_in_seq:at("k", 0):eq(t.batch_idx)
  g:require(is_own:all "b", "a sample must start with its own node")
  g:require(ptr:slice("m", 1, N):ge(ptr:slice("m", 0, N)):all "m", "indptr does not rise")
  local is_all = ptr:at("m", 0):eq(0) & ptr:at("m", N):eq(t.indices:size "e")
  g:require(is_all, "indptr must go from 0 to the number of indices")
end

return {
  name = "large_gt", paper = "Graph Transformers for Large Graphs", family = "graph",
  doc = "local attention over sampled nodes and their hops, global attention to a codebook",
  reference = "snap-research/LargeGT (MIT)",
  params = {
    conv_type = { "enum", { "full", "local", "global" }, "full", "which branches" },
    hidden = { "int", 256, "width, of each head too", min = 1 }, heads = { "int", 1, "heads", min = 1 },
    global_dim = { "int", 64, "width of the codebook's features", min = 1 },
    num_centroids = { "int", 4096, "its size", min = 1 },
    sample_len = { "int", 100, "sampled nodes per target, itself first", min = 1 },
    norm = { "enum", { "batch_norm", "layer_norm", "none" }, "batch_norm", "in the MLPs" },
    out_channels = { "int", 47, "classes", min = 1 },
    update = { "bool", false, "also a step of the codebook" },
    decay = { "float", 0.99, "of its moving averages", min = 0, max = 1 },
  },
  dims = { N = 10000, E = 200000, F = 100, B = 16 },
  made = { indptr = "m*E // N", batch_idx = "b", nodes_in_seq = "(b + 17*k) % N" },
  refuse = function(p)
    if p.update and p.conv_type == "local" then return "update needs the global branch" end
  end,
  inputs = function(p)
    local only = p.conv_type == "local" and "? " or ""
    return { features = "n=N f=F", indptr = "int m=N+1", indices = "int e=E", batch_idx = "int b=B",
      nodes_in_seq = "int b=B k=sample_len", pos_enc = only .. "n=N w=global_dim",
      c_idx = only .. "int n=N" }
  end,
  build = function(g, p, t)
    local X, N, C, pre = t.features, t.features:size "n", p.hidden, "convs.0."
    local function norm(x, name)
      if p.norm == "none" then return x end
      return p.norm == "batch_norm" and nn.batchnorm(x, name) or nn.layernorm(x, name, "c")
    end
    check_graph(g, p, t, N)
    local spread = propagation(g, t.indptr, t.indices, N)
    local h1 = spread(X)
    local h2 = spread(h1)
    g:output("hops", lap.stack("t", { h1, h2 }), "n t f")
    local parts, last = {}, p.norm == "none" and "3" or "4"
    if p.conv_type ~= "global" then
      local tokens = lap.stack("t", { X, h1, h2 }):at("n", t.nodes_in_seq)
      parts[1] = local_branch(g, p, tokens, pre .. "local_module."):merge "h d -> m"
    end
    if p.conv_type ~= "local" then
      local x = norm(nn.linear(X:at("n", t.batch_idx), "fc_in.0", "f -> c", { c = C }), "fc_in.1")
      x = nn.linear(nn.relu(x), "fc_in." .. last, "c -> c")
      local o, qx = global_branch(g, p, t, x, pre)
      parts[#parts + 1] = o:merge "h d -> m"
      if p.update then update(g, p, t, qx, pre .. "vq.") end
    end
    local mix = lap.cat("m", parts)
    local y = norm(nn.linear(mix, "ffs.0.0", "m -> c", { c = p.heads * C }), "ffs.0.1")
    y = nn.relu(norm(nn.linear(nn.relu(y), "ffs.0." .. last, "c -> c", { c = C }), "ffs.0.5"))
    g:output("mix", mix, "b m")
    g:output("logits", nn.linear(y, "fc_out", "c -> o", { o = p.out_channels }), "b o")
  end,
}
