# SPDX-License-Identifier: Apache-2.0
"""convit.py - gated positional self-attention, then plain attention with a class token, in plain PyTorch."""
import math

import torch
import torch.nn.functional as F
from plain import attention, layer_norm, linear


def displacement(side):
    i = torch.arange(side * side)
    dx = (i % side)[None, :] - (i % side)[:, None]
    dy = (i // side)[None, :] - (i // side)[:, None]
    return torch.stack([dx, dy, dx * dx + dy * dy], -1).float()


def run(p, t, w):
    x, heads, out = t["x"], p["num_heads"], {}
    B, N, C = x.shape
    d = C // heads
    place = displacement(math.isqrt(N))

    def split(y):
        return y.reshape(B, y.shape[1], heads, d).transpose(1, 2)

    for i in range(p["depth"]):
        pre = f"blocks.{i}."
        if i == p["local_up_to_layer"]:
            x = torch.cat([w["cls_token"].expand(B, 1, C), x], 1)
        y = layer_norm(x, w, pre + "norm1")
        if i < p["local_up_to_layer"]:
            q, k = (split(a) for a in linear(y, w, pre + "attn.qk").split(C, -1))
            content = (q @ k.transpose(-1, -2) * d ** -0.5).softmax(-1)
            near = linear(place, w, pre + "attn.pos_proj").permute(2, 0, 1).softmax(-1)
            gate = w[pre + "attn.gating_param"].sigmoid().view(1, heads, 1, 1)
            map_ = (1 - gate) * content + gate * near
            map_ = map_ / map_.sum(-1, keepdim=True)
            if i == 0:
                out["attn0"] = map_
            o = map_ @ split(linear(y, w, pre + "attn.v"))
        else:
            o = attention(*(split(a) for a in linear(y, w, pre + "attn.qkv").split(C, -1)))
        x = x + linear(o.transpose(1, 2).reshape(B, -1, C), w, pre + "attn.proj")
        y = layer_norm(x, w, pre + "norm2")
        x = x + linear(F.gelu(linear(y, w, pre + "mlp.fc1")), w, pre + "mlp.fc2")
    return {**out, "y": layer_norm(x, w, "norm")}
