# SPDX-License-Identifier: Apache-2.0
"""with_flex.py - attention patterns in PyTorch's FlexAttention, compiled; its block masks are made beforehand."""
import math

import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from peers.made import made, qkv_shapes
from peers.with_torch import DTYPES

VERSION = torch.__version__


def first_of(place, extent, size, dilation):
    """The first place of the window of `size` places around `place`, moved inward at the borders."""
    group, here = place % dilation, place // dilation
    length = (extent - group + dilation - 1) // dilation
    return (here - size // 2).clamp(min=0).minimum(length - size)


def near(w):
    def mask(b, h, q, k):
        inside = q >= 0
        for extent in reversed(w.grid):
            x, y, q, k = q % extent, k % extent, q // extent, k // extent
            first = first_of(x, extent, w.size, w.dilation)
            at = y // w.dilation - first
            inside = inside & (y % w.dilation == x % w.dilation) & (at >= 0) & (at < w.size)
        return inside

    return mask


def blocks(w):
    live = torch.zeros(64, 64, dtype=torch.bool)
    for p in range(64):
        live[p, [(p * 27 + r * 11) % 64 for r in range(w.size)]] = True
    return lambda b, h, q, k: live[q // 64, k // 64]


def listed(w):
    n, r = torch.arange(w.queries)[:, None], torch.arange(w.size)[None, :]
    live = torch.zeros(w.queries, w.queries, dtype=torch.bool)
    live.scatter_(1, (n * 2731 + r * 1597) % w.queries, True)
    return lambda b, h, q, k: live[q, k]


MASKS = {
    "causal": lambda w: lambda b, h, q, k: q >= k,
    "window": lambda w: lambda b, h, q, k: (q - k).abs() <= w.size,
    "strided": lambda w: lambda b, h, q, k: (q >= k) & (((q - k) < w.size) | ((q - k) % w.size == 0)),
    "near": near, "blocks": blocks, "listed": listed,
}


def edit_of(w):
    if w.edit == "alibi":
        return lambda s, b, h, q, k: s - 2.0 ** ((h + 1) * (-8.0 / w.heads)) * (q - k).abs()
    if w.edit == "softcap":
        return lambda s, b, h, q, k: 30.0 * torch.tanh(s / 30.0)
    if w.edit == "table":
        rows, cols = w.grid
        table = torch.from_numpy(made(w.heads, 2 * rows - 1, 2 * cols - 1))
        return lambda s, b, h, q, k: s + table[h, k // cols - q // cols + rows - 1, k % cols - q % cols + cols - 1]
    return None


def prepare(w, threads):
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    q, k, v = (torch.from_numpy(made(*shape)).to(DTYPES[w.dtype]) for shape in qkv_shapes(w))
    mask = None
    if w.pattern in MASKS:
        mask = create_block_mask(MASKS[w.pattern](w), None, None, w.queries, w.keys or w.queries, device="cpu")
    edit, compiled = edit_of(w), torch.compile(flex_attention)
    return lambda: compiled(q, k, v, score_mod=edit, block_mask=mask, enable_gqa=w.kv_heads > 0,
                            scale=1.0 / math.sqrt(w.width))
