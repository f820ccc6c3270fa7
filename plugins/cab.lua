-- SPDX-License-Identifier: Apache-2.0
-- Ten attentions behind one interface, each in the patterns that it serves: noncausal or causal (N, C),
-- self or cross (S, C).
local lap, nn = require "lap", require "lib.nn"
local landmark, long_short, s4d = require "lib.landmark", require "lib.long_short", require "lib.s4d"

local serves = { vanilla = "NS CS NC CC", ["local"] = "NS CS", nystrom = "NS", performer = "NS NC CC",
  lara = "NS", abc = "NS CS NC CC", cosformer = "NS NC", longshort = "NS CS", probsparse = "NS",
  s4d = "NS CS" }
local attentions = { "vanilla", "local", "nystrom", "performer", "lara", "abc", "cosformer",
  "longshort", "probsparse", "s4d" }

-- Those with heads: q [b n h d], k and v [b j h d] -> [b n h d].
local headed = { nystrom = landmark.nystrom, lara = landmark.lara, abc = landmark.abc }
local function exact(g, q, k, v, where)
  local score = q:dot(k, "d") * g:number(q:size "d") ^ -0.5
  return g:attend { keys = "j", score = score, value = v, where = where }.out
end
function headed.vanilla(g, p, q, k, v)             -- across, the whole source is visible
  return exact(g, q, k, v, p.causal and not p.cross and k:index "j":le(q:index "n") or nil)
end
headed["local"] = function(g, p, q, k, v)
  local gap = q:index "n" - k:index "j"
  return exact(g, q, k, v, p.causal and gap:ge(0) & gap:lt(p.wsize) or gap:abs():le(p.wsize))
end

-- phi(q) (phi(k)^T v) / (phi(q) sum phi(k)); `over` are the axes of phi.
local function linear_attention(q, k, v, over, eps)
  return q:dot(k:dot(v, "j"), over) / q:dot(k:sum "j", over):atleast(eps)
end
function headed.performer(g, p, q, k, v)
  local s = { h = p.num_heads, f = p.features, d = q:size "d" }
  local W = g:weight("eval_proj", "h f d", s)
  local function phi(x, over)
    local z = x * g:number(s.d) ^ -0.25
    local a = z:dot(W, "d")
    return ((a - z:dot(z, "d") / 2 - a:max(over)):exp() + 1e-4) / math.sqrt(p.features)
  end
  return linear_attention(phi(q, "f"), phi(k, "f j"), v, "f", 0.1)
end
function headed.cosformer(_, _, q, k, v)
  local longest = lap.dim.max(q:size "n", k:size "j")
  local function wave(x, axis)
    local angle = (x:index(axis) + 1) * (math.pi / 2) / longest
    return nn.relu(x) * lap.stack("w", { angle:sin(), angle:cos() })
  end
  return linear_attention(wave(q, "n"), wave(k, "j"), v:as "d -> e", "w d", 1e-6):as "e -> d"
end

-- Those with layers of their own: x [b n c] -> the same.
local whole = { s4d = s4d.layer }
function whole.longshort(g, p, x)
  return (p.causal and long_short.causal or long_short.noncausal)(g, p, x)
end
-- The queries with the sharpest sampled scores get exact rows, the others the mean of v.
function whole.probsparse(g, p, x, sampled)
  local N, U, C = x:size "n", sampled:size "u", x:size "c"
  local samples = -(-g:number(N):log()):floor() * p.factor
  g:require(g:number(U):eq(samples:atmost(N)), "sample_index must have min(N, factor*ceil(log N)) columns")
  g:require(sampled:ge(0) & sampled:lt(N), "sample_index names a key outside 0..N-1")
  local s, y = { h = p.num_heads, d = C / p.num_heads }, x:as "n -> j"
  local q = nn.linear(x, "query_projection", "c -> (h d)", s)
  local k = nn.linear(y, "key_projection", "c -> (h d)", s)
  local v = nn.linear(y, "value_projection", "c -> (h d)", s)
  local scores = q:dot(k:at("j", sampled), "d")
  local sharp = scores:max "u" - scores:sum "u" / N
  local top = sharp:topk("n -> a", U, { order = "position" }).index
  local mean = v:mean "j"
  local rows = exact(g, q:at("n", top), k, v) - mean
  g:output("top", top, "b h a")
  local o = rows:scatter("a", { n = top }, { n = N }) + mean
  return nn.linear(o, "out_projection", "(h d) -> c", { c = C })
end

local function refuse(p)
  local pattern = (p.causal and "C" or "N") .. (p.cross and "C" or "S")
  if not serves[p.attention]:find(pattern, 1, true) then
    return ("attention %s does not serve %s %s"):format(p.attention,
      p.causal and "causal" or "noncausal", p.cross and "cross" or "self")
  end
  if p.conv_kernel ~= 0 and p.conv_kernel % 2 == 0 then return "conv_kernel must be odd or 0" end
  if p.attention == "s4d" then
    if p.d_state % 2 ~= 0 then return "d_state must be even" end
    if p.bidirectional == p.causal then return "bidirectional must be the opposite of causal" end
  end
  if p.attention == "longshort" and p.causal and p.mem_len % p.chunk_size ~= 0 then
    return "mem_len must be a multiple of chunk_size"
  end
end

return {
  name = "cab", paper = "CAB: Comprehensive Attention Benchmarking on Long Sequence Modeling",
  family = "benchmark", doc = "ten attentions in four patterns, behind one interface",
  reference = "Shark-NLP/CAB, efficient_attention/modules (MIT); abc cumulative: equations",
  params = {
    attention = { "enum", attentions, "vanilla", "which" },
    causal = { "bool", false, "no token after the query" },
    cross = { "bool", false, "keys and values from another sequence" },
    num_heads = { "int", 8, "heads", min = 1 },
    wsize = { "int", 16, "local: reach, or the number of keys where causal", min = 1 },
    num_landmarks = { "int", 64, "nystrom, lara, abc, longshort: summaries", min = 1 },
    conv_kernel = { "int", 0, "nystrom: taps of the convolution of the values, 0 = none", min = 0 },
    features = { "int", 64, "performer: random features", min = 1 },
    cumulative = { "bool", false, "abc, causal: the memory accumulates, as in its paper" },
    window_size = { "int", 64, "longshort: near keys", min = 1 },
    chunk_size = { "int", 16, "longshort, causal: tokens of a chunk", min = 1 },
    chunk_rank = { "int", 1, "longshort, causal: summaries of a chunk", min = 1 },
    mem_len = { "int", 0, "longshort, causal: tokens before the first, as zeros", min = 0 },
    factor = { "int", 5, "probsparse: samples over log N", min = 1 },
    d_state = { "int", 64, "s4d: states, even", min = 2 },
    bidirectional = { "bool", function(p) return not p.causal end, "s4d: one more kernel looks ahead" },
  },
  dims = { B = 1, N = 1024, J = 1024, C = 512, U = 35 },
  refuse = refuse,
  inputs = function(p)
    local source = p.cross and "b=B j=J c=C" or nil
    return { query = "b=B n=N c=C", key = source, value = source,
      sample_index = p.attention == "probsparse" and "int n=N u=U" or nil }
  end,
  build = function(g, p, t)
    local x, C = t.query, t.query:size "c"
    g:require(g:number(C % p.num_heads):eq(0), "num_heads must divide the channels of query")
    local layer = whole[p.attention]
    if layer then return g:output("out", layer(g, p, x, t.sample_index), "b n c") end
    local s, y = { h = p.num_heads, d = C / p.num_heads }, x:as "n -> j"
    local q = nn.linear(x, "q_proj", "c -> (h d)", s)
    local k = nn.linear(t.key or y, "k_proj", "c -> (h d)", s)
    local v = nn.linear(t.value or y, "v_proj", "c -> (h d)", s)
    local o = headed[p.attention](g, p, q, k, v)
    g:output("out", nn.linear(o, "out_proj", "(h d) -> c", { c = C }), "b n c")
  end,
}
