-- SPDX-License-Identifier: Apache-2.0
-- K denoisers side by side: behind each block a softmax over the models, per pixel, merges their
-- maps into the one from which all continue. The weights come from the maps, the time and the
-- prompt.
local lap, nn, diffusers = require "lap", require "lib.nn", require "lib.diffusers"

local function groupnorm(x, name, groups)
  local z = x:split("c -> g e", { g = groups })
  return nn.groupnorm(z, name, "e y x", "g e", 1e-6):merge "g e -> c"
end
-- A transformer layer on the pixels of t [b c y x], which also read the prompt [b l w].
local function layer(t, prompt, pre, heads)
  local n = nn.layernorm(t, pre .. "norm1", "c")
  t = t + diffusers.attention(n, n:as "y x -> ky kx", "ky kx", pre .. "attn1.", { heads = heads })
  n = nn.layernorm(t, pre .. "norm2", "c")
  t = t + diffusers.attention(n, prompt, "l", pre .. "attn2.", { heads = heads, from = "w" })
  return t + diffusers.geglu(nn.layernorm(t, pre .. "norm3", "c"), pre .. "ff.")
end

-- The aggregator: X [b k c y x], time e [b t], prompt [b l w] -> the merged map [b c y x], the
-- weights [b k y x].
local function sabw(p, X, e, prompt, pre)
  local hidden = { c = p.hidden }
  local function norm(x, name) return groupnorm(x, pre .. name, p.norm_groups) end
  local function conv(x, name) return nn.conv(x, pre .. "res_block." .. name, "c -> c", { k = 3 }) end
  local u = nn.conv1x1(X:as "c -> e", pre .. "conv_in", "(k e) -> c", hidden)
  local time = nn.linear(nn.silu(e), pre .. "res_block.time_emb_proj", "t -> c", hidden)
  local r = conv(nn.silu(norm(u, "res_block.norm1")), "conv1") + time
  u = u + conv(nn.silu(norm(r, "res_block.norm2")), "conv2")
  local t = nn.conv1x1(norm(u, "transformer.norm"), pre .. "transformer.proj_in", "c -> c")
  for j = 0, p.num_layers - 1 do
    t = layer(t, prompt, ("%stransformer.transformer_blocks.%d."):format(pre, j), p.heads)
  end
  u = u + nn.conv1x1(t, pre .. "transformer.proj_out", "c -> c")
  local A = nn.conv1x1(u, pre .. "conv_out", "c -> k", { k = p.num_models }, { bias = false }):softmax "k"
  return A:dot(X, "k"), A
end

-- Small denoisers with an aggregator behind every block. Each has its own time e [b t] and prompt;
-- aggregators see the means.
local function chain(g, p, t)
  local time = { t = p.temb_dim }
  local function each(f)                           -- f(prefix, model) of all models
    local list = {}
    for k = 0, p.num_models - 1 do list[k + 1] = f(("models.%d."):format(k), k) end
    return lap.stack("k", list), list
  end
  local frequency = (g:index("j", p.time_dim // 2) * (-2 / p.time_dim * math.log(10000))):exp()
  local angle = t.timestep * frequency
  local pe = lap.stack("z", { angle:cos(), angle:sin() })
  local e, e_of = each(function(pre)
    return nn.linear(nn.silu(nn.linear(pe, pre .. "time1", "(z j) -> t", time)), pre .. "time2", "t -> t")
  end)
  local maps, h = {}, nil
  local function merge(X)
    local pre = ("aggregators.%d."):format(#maps)
    h, maps[#maps + 1] = sabw(p, X, e:mean "k", t.contexts:mean "k", pre)
  end
  local width = { c = p.channels }
  merge(each(function(pre)
    return nn.conv(t.latents, pre .. "conv_in", "c -> c", { k = 3, sizes = width })
  end))
  for i = 0, p.blocks - 1 do
    merge(each(function(pre, k)
      pre = ("%sblocks.%d."):format(pre, i)
      local prompt = t.contexts:at("k", k):mean "l"
      local z = h + nn.linear(nn.silu(e_of[k + 1]), pre .. "temb", "t -> c", width)
        + nn.linear(prompt, pre .. "ctx", "w -> c", width)
      return h + nn.conv(nn.silu(z), pre .. "conv", "c -> c", { k = 3 })
    end))
  end
  g:output("last_features", h, "b c y x")
  local latent = { c = p.latent }
  merge(each(function(pre)
    return nn.conv(nn.silu(h), pre .. "conv_out", "c -> c", { k = 3, sizes = latent })
  end))
  g:output("noise", h, "b c y x")
  g:output("attn_maps", lap.stack("i", maps), "b i k y x")
end

return {
  name = "afa", family = "diffusion",
  doc = "an aggregator of the maps of several denoisers, or a chain of them",
  paper = "Ensembling Diffusion Models via Adaptive Feature Aggregation",
  reference = "Tenvence/afa, models/modules/aggregator.py (Apache-2.0); the chain's small denoisers are ours",
  params = {
    part = { "enum", { "sabw", "chain" }, "sabw",
      "one aggregator, or small denoisers with one behind each block" },
    num_models = { "int", 2, "models", min = 1, max = 64 },
    channels = { "int", 8, "channels of their maps", min = 1 },
    hidden = { "int", 128, "width of an aggregator", min = 1 },
    heads = { "int", 8, "heads of its attention", min = 1 },
    num_layers = { "int", 1, "its transformer layers", min = 0, max = 64 },
    norm_groups = { "int", 32, "groups of its group norms", min = 1 },
    cross_dim = { "int", 768, "width of a prompt token", min = 1 },
    temb_dim = { "int", 1280, "width of the time embedding", min = 1 },
    blocks = { "int", 0, "chain: blocks of a denoiser", min = 0, max = 64 },
    latent = { "int", 4, "chain: channels of the latents", min = 1 },
    time_dim = { "int", 8, "chain: size of the sinusoid, even", min = 2 },
  },
  dims = { B = 1, H = 64, W = 64, L = 77 },
  bench = { channels = 320 },
  refuse = function(p)
    if p.hidden % p.heads ~= 0 then return "hidden must be a multiple of heads" end
    if p.hidden % p.norm_groups ~= 0 then return "hidden must be a multiple of norm_groups" end
    if p.time_dim % 2 ~= 0 then return "time_dim must be even" end
  end,
  inputs = function(p)
    if p.part == "chain" then
      return { latents = "b c=latent y=H x=W", timestep = "int b", contexts = "k=num_models b l w=cross_dim" }
    end
    return { features = "b k=num_models c=channels y=H x=W", temb = "b t=temb_dim",
      context = "b l w=cross_dim" }
  end,
  build = function(g, p, t)
    if p.part == "chain" then return chain(g, p, t) end
    local y, A = sabw(p, t.features, t.temb, t.context, "")
    g:output("aggregated", y, "b c y x")
    g:output("attn_map", A, "b k y x")
  end,
}
