# SPDX-License-Identifier: Apache-2.0
"""plain.py - layers that the plain PyTorch versions share. w holds a checkpoint's tensors by name."""
import torch
import torch.nn.functional as F


def linear(x, w, name):
    return F.linear(x, w[name + ".weight"], w.get(name + ".bias"))


def conv(x, w, name, **options):
    return F.conv2d(x, w[name + ".weight"], w.get(name + ".bias"), **options)


def layer_norm(x, w, name, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], w[name + ".weight"], w[name + ".bias"], eps)


def channel_norm(x, w, name, eps):
    """Layer norm over the channels of a map [B, C, H, W]."""
    return layer_norm(x.permute(0, 2, 3, 1), w, name, eps).permute(0, 3, 1, 2)


def batch_norm(x, w, name, eps=1e-5):
    return F.batch_norm(x, w[name + ".running_mean"], w[name + ".running_var"], w[name + ".weight"],
                        w[name + ".bias"], False, 0.0, eps)


def rms_norm(x, weight, eps):
    return F.rms_norm(x, x.shape[-1:], weight, eps)


def rope(x, positions, base):
    """x [.., n, d]: channel i turns with channel i + d/2."""
    half = x.shape[-1] // 2
    angle = positions.float()[:, None] * base ** (-torch.arange(half).float() / half)
    c, s, (lo, hi) = angle.cos(), angle.sin(), x.split(half, -1)
    return torch.cat([lo * c - hi * s, hi * c + lo * s], -1)


def attention(q, k, v, **options):
    return F.scaled_dot_product_attention(q, k, v, **options)


class Decoder:
    """Layers of a language model over one row of tokens x [n, c]: RMS norm, rotary positions, SwiGLU."""

    def __init__(self, p, w):
        self.p, self.w, self.d = p, w, p["dim"] // p["n_heads"]

    def qkv(self, i, x, positions, which="qkv"):
        y = rms_norm(x, self.w[f"layers.{i}.input_layernorm.weight"], self.p["rms_eps"])
        out = []
        for name in which:
            t = linear(y, self.w, f"layers.{i}.self_attn.{name}_proj").unflatten(-1, (-1, self.d)).transpose(0, 1)
            out.append(t if name == "v" else rope(t, positions, self.p["rope_theta"]))
        return out

    def finish(self, i, x, o):
        x = x + linear(o.transpose(0, 1).flatten(1), self.w, f"layers.{i}.self_attn.o_proj")
        y = rms_norm(x, self.w[f"layers.{i}.post_attention_layernorm.weight"], self.p["rms_eps"])
        mlp = f"layers.{i}.mlp."
        gate = F.silu(linear(y, self.w, mlp + "gate_proj")) * linear(y, self.w, mlp + "up_proj")
        return x + linear(gate, self.w, mlp + "down_proj")

    def last(self, x):
        return rms_norm(x, self.w["norm.weight"], self.p["rms_eps"])
