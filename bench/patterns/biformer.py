# SPDX-License-Identifier: Apache-2.0
"""biformer.py - bi-level routing attention and its block in plain PyTorch."""
import torch
import torch.nn.functional as F
from plain import attention, layer_norm, linear


def depthwise(x, w, name):                          # of a map [B, H, W, C]
    weight = w[name + ".weight"]
    y = F.conv2d(x.permute(0, 3, 1, 2), weight, w[name + ".bias"], padding=weight.shape[-1] // 2, groups=weight.shape[0])
    return y.permute(0, 2, 3, 1)


def routed(p, t, w, out):
    B, H, W, C = t.shape
    S, h, kq = p["n_win"], p["num_heads"], p["qk_dim"]
    z = linear(t, w, "attn.qkv.qkv")
    regions = z.reshape(B, S, H // S, S, W // S, -1).transpose(2, 3).reshape(B, S * S, -1, 2 * kq + C)
    q, kv = regions[..., :kq], regions[..., kq:]
    top = (q.mean(2) * kq ** -0.5 @ kv[..., :kq].mean(2).transpose(1, 2)).topk(p["topk"], -1)
    out["route"], out["route_weight"] = top.indices, top.values.softmax(-1)
    index = top.indices.reshape(B, -1, 1, 1).expand(-1, -1, *kv.shape[2:])
    kept = kv.gather(1, index).reshape(B, S * S, -1, kq + C)

    def heads(a):
        return a.reshape(B, S * S, -1, h, a.shape[-1] // h).transpose(2, 3)

    y = attention(heads(q), heads(kept[..., :kq]), heads(kept[..., kq:]), scale=kq ** -0.5)
    y = y.transpose(2, 3).reshape(B, S, S, H // S, W // S, C).transpose(2, 3).reshape(B, H, W, C)
    return linear(y + depthwise(z[..., 2 * kq:], w, "attn.lepe"), w, "attn.wo")


def run(p, t, w):
    assert p["pre_norm"] and p["kv_downsample_mode"] == "identity" and p["param_attention"] == "qkvo"
    assert not (p["soft_routing"] or p["layer_scale"] or p["auto_pad"] or p["mlp_dwconv"])
    out, x = {}, t["x"].permute(0, 2, 3, 1)
    x = x + depthwise(x, w, "pos_embed")
    x = x + routed(p, layer_norm(x, w, "norm1", 1e-6), w, out)
    x = x + linear(F.gelu(linear(layer_norm(x, w, "norm2", 1e-6), w, "mlp.0")), w, "mlp.3")
    return {"out": x.permute(0, 3, 1, 2), **out}
