# SPDX-License-Identifier: Apache-2.0
"""with_torch.py - the subjects in PyTorch, eager, by the calls that its users would write."""
import torch
import torch.nn.functional as F

from peers.made import HEADS, HIDDEN, LAYERS, WIDTH, made, qkv_shapes

VERSION = torch.__version__
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def tensor(*shape, dtype=torch.float32):
    return torch.from_numpy(made(*shape)).to(dtype)


def attention(w):
    q, k, v = (tensor(*shape, dtype=DTYPES[w.dtype]) for shape in qkv_shapes(w))
    options = {"enable_gqa": True} if w.kv_heads else {}
    if w.pattern == "causal":
        options["is_causal"] = True
    elif w.pattern == "window":
        i, j = torch.arange(w.queries)[:, None], torch.arange(w.keys or w.queries)[None, :]
        options["attn_mask"] = (i - j).abs() <= w.size
    return lambda: F.scaled_dot_product_attention(q, k, v, **options)


def matmul(w):
    m, n, k = w.shape
    a, b = tensor(m, k), tensor(k, n)
    return lambda: a @ b


def conv(w):
    into, out, size, side, groups = w.shape
    x, weight = tensor(1, into, side, side), tensor(out, into // groups, size, size)
    return lambda: F.conv2d(x, weight, padding=size // 2, groups=groups)


def layernorm(w):
    x, scale, bias = tensor(*w.shape), tensor(w.shape[-1]), tensor(w.shape[-1])
    return lambda: F.layer_norm(x, w.shape[-1:], scale, bias)


def softmax(w):
    x = tensor(*w.shape)
    return lambda: F.softmax(x, -1)


def chain(w):
    x, a, b = tensor(*w.shape), tensor(w.shape[-1]), tensor(w.shape[-1])
    return lambda: F.silu(a * x + b) + x


def encoder(w):
    tokens = w.shape[0]

    def layer():
        shapes = [(3 * WIDTH, WIDTH), (WIDTH, WIDTH), (HIDDEN, WIDTH), (WIDTH, HIDDEN)]
        linears = [(tensor(*s), tensor(s[0])) for s in shapes]
        return linears + [(tensor(WIDTH), tensor(WIDTH)) for _ in range(2)]

    layers, x0 = [layer() for _ in range(LAYERS)], tensor(1, tokens, WIDTH)

    def run():
        x = x0
        for qkv, proj, up, down, norm1, norm2 in layers:
            heads = F.linear(x, *qkv).view(1, tokens, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
            o = F.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(1, tokens, WIDTH)
            x = F.layer_norm(x + F.linear(o, *proj), (WIDTH,), *norm1, 1e-12)
            x = F.layer_norm(x + F.linear(F.gelu(F.linear(x, *up)), *down), (WIDTH,), *norm2, 1e-12)
        return F.normalize(x.mean(1))

    return run


def prepare(w, threads):
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    return globals()[w.op](w)
