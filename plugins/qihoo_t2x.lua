-- SPDX-License-Identifier: Apache-2.0
-- PT-DiT block: each window of a video gives a few proxy tokens; proxies attend to each other and inform
-- all tokens; then attention in windows and in shifted windows, text, MLP, all under a timestep.
local lap, nn = require "lap", require "lib.nn"
local diffusers, window = require "lib.diffusers", require "lib.window"

local grid = { "f", "y", "x" }
local function norm(x) return nn.layernorm(x, nil, "c", 1e-6) end
local function windows(p, x)                       -- windows (F Y X), places inside (f y x)
  for i, a in ipairs(grid) do
    x = x:split(a .. " -> " .. a:upper() .. " " .. a, { [a] = p.compress_ratios[i] })
  end
  return x
end
local function join(x)
  for _, a in ipairs(grid) do x = x:merge(a:upper() .. " " .. a .. " -> " .. a) end
  return x
end
local function per_window(p)                       -- proxies of a window along y and x; one in time
  local c, pc = p.compress_ratios, p.proxy_compress_ratios
  return c[2] // pc[2], c[3] // pc[3]
end
local function members(p)                          -- tokens that a proxy stands for
  local c, ry, rx = p.compress_ratios, per_window(p)
  return c[1] * (c[2] // ry) * (c[3] // rx)
end

-- Place o of a window belongs to proxy o mod r, as its member o div r: members are strided.
local function proxies(p, t)
  local ry, rx = per_window(p)
  local x = windows(p, t.x):split("y -> my py", { py = ry }):split("x -> mx px", { px = rx })
  if p.proxy_mode == "mean" then
    x = x:mean "f my mx"
  elseif p.proxy_mode == "first" then
    x = x:at { f = 0, my = 0, mx = 0 }
  else
    local size = {}
    for _, a in ipairs { "F", "Y", "X", "py", "px" } do size[a] = x:size(a) end
    x = x:merge "f my mx -> m":at("m", t.pick:split("p -> F Y X py px", size))
  end
  return x:merge "F Y X py px -> p"
end

-- attend(z, add) on rolled windows: a finite penalty between tokens that were no neighbours before.
local function shifted(g, p, x, attend)
  local shift, apart = {}, nil
  for i, a in ipairs(grid) do
    local size, n = p.compress_ratios[i], x:size(a)
    shift[a] = size // 2
    x = x:roll(a, -shift[a])
    if shift[a] > 0 then
      local is_apart = window.is_apart(g, a:upper(), a, "k" .. a, n, size, shift[a])
      apart = apart and apart | is_apart or is_apart
    end
  end
  x = join(attend(windows(p, x), apart and -10000 * apart:int()))
  for _, a in ipairs(grid) do x = x:roll(a, shift[a]) end
  return x
end

local function refuse(p)
  for _, name in ipairs { "compress_ratios", "proxy_compress_ratios" } do
    if #p[name] ~= 3 then return name .. " must have 3 entries" end
  end
  for i = 2, 3 do
    local c, pc = p.compress_ratios[i], p.proxy_compress_ratios[i]
    if pc > c then return ("proxy_compress_ratios[%d] exceeds the window"):format(i) end
    if c % (c // pc) ~= 0 then return ("the proxies do not share compress_ratios[%d] evenly"):format(i) end
  end
end

return {
  name = "qihoo_t2x", family = "hierarchy",
  paper = "Qihoo-T2X: An Efficient Proxy-Tokenized Diffusion Transformer for Text-to-Any-Task",
  doc = "proxy tokens of windows for the global context, windows for the detail",
  reference = "Ascend/MindSpeed-MM, pt_dit_diffusers.py (BSD-3-Clause); equations for pick",
  params = {
    num_heads = { "int", 16, "heads", min = 1 },
    head_dim = { "int", 72, "width of a head", min = 1 },
    compress_ratios = { "list of int", { 1, 8, 8 }, "window: frames, rows, columns", min = 1 },
    proxy_compress_ratios = { "list of int", { 1, 4, 4 }, "tokens per proxy along each", min = 1 },
    proxy_mode = { "enum", { "mean", "first", "pick" }, "mean", "what a proxy is made of" },
    shift_window = { "bool", true, "attention in shifted windows too" },
    ff_mult = { "int", 4, "hidden width over width", min = 1 },
    attention_bias = { "bool", true, "bias of queries, keys and values" },
  },
  dims = { B = 1, F = 1, H = 32, W = 32, M = 120 },
  refuse = refuse,
  inputs = function(p)
    local c = "c=num_heads*head_dim"
    return { x = "b=B f=F y=H x=W " .. c, context = "b=B m=M " .. c, t = "(i=6 " .. c .. ")",
      context_mask = "? int b=B m=M", pick = p.proxy_mode == "pick" and "int b=B p" or nil }
  end,
  build = function(g, p, t)
    local x, C = t.x, p.num_heads * p.head_dim
    local function attend(q, source, keys, name, add)
      local o = { heads = p.num_heads, bias = p.attention_bias, add = add }
      return (diffusers.attention(q, source, keys, name .. ".", o))
    end
    local function inside(z, name, add)
      return attend(z, z:as "f y x -> kf ky kx", "kf ky kx", name, add)
    end
    local function modulation(name, parts)         -- of the i-th shift, scale or gate
      local T = g:weight(name, "i c", { i = parts, c = C }) + t.t:slice("i", 0, parts)
      return function(i) return T:at("i", i) end
    end
    local function under(z, m, i) return norm(z) * (1 + m(i + 1)) + m(i) end
    local m6 = modulation("scale_shift_table", 6)
    if t.pick then
      local is_member = t.pick:ge(0) & t.pick:lt(members(p))
      g:require(is_member:all(), ("pick must lie in 0..%d"):format(members(p) - 1))
    end
    local pr = proxies(p, t)
    local q, k = norm(pr):queries "p -> j"
    pr = pr + attend(q, k, "j", "proxy_attn1")
    x = x + nn.linear(attend(norm(x), norm(pr), "p", "pvisual_attn2"), "linear_1_visual", "c -> c")
    x = x + m6(2) * join(inside(windows(p, under(x, m6, 0)), "attn1"))
    if p.shift_window then
      local m3 = modulation("proxy_scale_shift_table", 3)
      local a = shifted(g, p, x, function(z, add) return inside(under(z, m3, 0), "attn3", add) end)
      x = x + nn.linear(m3(2) * a, "linear_2", "c -> c")
    end
    local hidden = t.context_mask and lap.where(t.context_mask:ne(0), 0.0, -10000.0)
    x = x + attend(x, t.context, "m", "attn2", hidden)
    local u = nn.gelu_tanh(nn.linear(under(x, m6, 3), "ff.net.0.proj", "c -> e", { e = C * p.ff_mult }))
    x = x + m6(5) * nn.linear(u, "ff.net.2", "e -> c", { c = C })
    g:output("proxies", pr, "b p c")
    g:output("y", x, "b f y x c")
  end,
}
