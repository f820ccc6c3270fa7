# SPDX-License-Identifier: Apache-2.0
"""super_token.py - super token attention and its block in plain PyTorch."""
import torch
import torch.nn.functional as F
from plain import attention, batch_norm, channel_norm, conv


def around(s):                                      # [B, C, a, b] -> its 9 neighbours [B, a b, 9, C]
    B, C, a, b = s.shape
    return F.unfold(s, 3, padding=1).reshape(B, C, 9, a * b).permute(0, 3, 2, 1)


def back(t, a, b):                                  # its transpose
    B, _, _, C = t.shape
    return F.fold(t.permute(0, 3, 2, 1).reshape(B, C * 9, a * b), (a, b), 3, padding=1)


def refine(p, s, w):
    B, C, a, b = s.shape
    q, k, v = conv(s, w, "attn.stoken_refine.qkv").reshape(B, p["num_heads"], -1, a * b).transpose(2, 3).chunk(3, -1)
    o = attention(q, k, v).transpose(2, 3).reshape(B, C, a, b)
    return conv(o, w, "attn.stoken_refine.proj")


def run(p, t, w):
    assert p["refine"] and p["refine_attention"] and not p["layerscale"]
    x, (h, v) = t["x"], p["stoken_size"]
    B, C, H, W = x.shape
    assert H % h == 0 and W % v == 0
    a, b = H // h, W // v
    x = x + conv(x, w, "pos_embed.conv", padding=1, groups=C)
    y = channel_norm(x, w, "norm1.norm", 1e-6)
    pixels = y.reshape(B, C, a, h, b, v).permute(0, 2, 4, 3, 5, 1).reshape(B, a * b, h * v, C)
    s = pixels.mean(2).transpose(1, 2).reshape(B, C, a, b)
    for _ in range(p["n_iter"]):
        share = (pixels @ around(s).transpose(-1, -2) * C ** -0.5).softmax(-1)
        s = back(share.transpose(-1, -2) @ pixels, a, b) / (back(share.sum(2)[..., None], a, b) + 1e-12)
    mixed = (share @ around(refine(p, s, w))).reshape(B, a, b, h, v, C)
    mixed = mixed.permute(0, 5, 1, 3, 2, 4).reshape(B, C, H, W)
    x = x + mixed
    u = F.gelu(conv(batch_norm(x, w, "norm2"), w, "mlp2.fc1"))
    u = u + conv(u, w, "mlp2.conv.conv", padding=1, groups=u.shape[1])
    return {"out": x + conv(u, w, "mlp2.fc2"), "attn_out": mixed, "stokens": s}
