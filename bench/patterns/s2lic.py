# SPDX-License-Identifier: Apache-2.0
"""s2lic.py - the SwinV2 group of S2LIC in plain PyTorch."""
import math

import torch
import torch.nn.functional as F
from plain import attention, layer_norm, linear


def bias_of(w, pre, s):
    d = torch.arange(-(s - 1), s).float() / max(s - 1, 1) * 8
    d = d.sign() * torch.log2(d.abs() + 1) / 3
    grid = torch.stack(torch.meshgrid(d, d, indexing="ij"), -1)
    hidden = linear(grid, w, pre + "attn.cpb_mlp.0").relu()
    table = 16 * linear(hidden, w, pre + "attn.cpb_mlp.2").sigmoid()
    r, c = torch.arange(s * s) // s, torch.arange(s * s) % s
    return table[r[:, None] - r[None] + s - 1, c[:, None] - c[None] + s - 1].permute(2, 0, 1)


def block(x, w, pre, p, shift):
    B, H, W, C = x.shape
    n, s = p["num_heads"], p["window_size"]
    shifts = [0 if m <= s else shift for m in (H, W)]

    def cut(t):
        t = t.reshape(t.shape[0], H // s, s, W // s, s, -1).transpose(2, 3)
        return t.reshape(t.shape[0], -1, s * s, t.shape[-1])

    z = cut(torch.roll(x, (-shifts[0], -shifts[1]), (1, 2)))
    qkv_bias = torch.cat([w[pre + "attn.q_bias"], torch.zeros(C), w[pre + "attn.v_bias"]]) if p["qkv_bias"] else None
    qkv = F.linear(z, w[pre + "attn.qkv.weight"], qkv_bias)
    q, k, v = qkv.reshape(B, -1, s * s, 3, n, C // n).permute(3, 0, 1, 4, 2, 5)
    mask = bias_of(w, pre, s)
    if any(shifts):
        zone = [(torch.arange(m) >= m - s).long() + (torch.arange(m) >= m - e).long() for m, e in zip((H, W), shifts)]
        label = cut((3 * zone[0][:, None] + zone[1])[None, ..., None])[0, :, :, 0]
        mask = mask - 100.0 * (label[:, :, None] != label[:, None])[:, None]
    q = F.normalize(q, dim=-1) * w[pre + "attn.logit_scale"].clamp(max=math.log(100.0)).exp()
    o = attention(q, F.normalize(k, dim=-1), v, attn_mask=mask, scale=1.0)
    o = linear(o.transpose(2, 3).reshape(B, -1, s * s, C), w, pre + "attn.proj")
    o = o.reshape(B, H // s, W // s, s, s, C).transpose(2, 3).reshape(B, H, W, C)
    x = x + layer_norm(torch.roll(o, shifts, (1, 2)), w, pre + "norm1")
    return x + layer_norm(linear(F.gelu(linear(x, w, pre + "mlp.fc1")), w, pre + "mlp.fc2"), w, pre + "norm2")


def run(p, t, w):
    assert p["part"] == "swinv2"
    x = t["x"].permute(0, 2, 3, 1)
    for i in range(p["depth"]):
        x = block(x, w, f"blocks.{i}.", p, p["window_size"] // 2 if i % 2 else 0)
    return {"y": x.permute(0, 3, 1, 2) + t["x"]}
