# SPDX-License-Identifier: Apache-2.0
"""soft.py - softmax-free attention through landmarks, and its block, in plain PyTorch."""
import torch
import torch.nn.functional as F
from plain import layer_norm, linear


def gauss(a, b):
    squares = (a * a).sum(-1)[..., :, None] + (b * b).sum(-1)[..., None, :] - 2 * a @ b.transpose(-1, -2)
    return torch.exp(-0.5 * squares)


def inverse(a, steps):
    top = a.sum(-1).amax(-1)[..., None, None]
    m = a + 0.01 * torch.eye(a.shape[-1])
    y = 1.8 / top ** 2 * m
    for _ in range(steps):
        y = 2 * y - y @ m @ y
    return y


def run(p, t, w):
    assert p["variant"] == "plain" and p["ratio"] > 1 and not p["backward"]
    x, H, W, h, d = t["x"], p["H"], p["W"], p["num_heads"], p["dim"] // p["num_heads"]
    b, n, c = x.shape

    def heads(name):
        return linear(x, w, name).reshape(b, n, h, d).transpose(1, 2)

    q, v = heads("mha.W_q") / d ** 0.25, heads("mha.W_v")
    m = F.conv2d(q.transpose(2, 3).reshape(b * h, d, H, W), w["mha.attn.Qlandmark_op.weight"], stride=p["ratio"])
    m = m.flatten(2).transpose(1, 2).reshape(b, h, -1, d)
    m = F.gelu(layer_norm(m, w, "mha.attn.Qnorm_act.0"))
    far = gauss(q, m)
    y = far @ (inverse(gauss(m, m), p["max_iter"]) @ (far.transpose(-1, -2) @ v))
    if p["conv_size"] > 0:
        image = v.transpose(2, 3).reshape(b, c, H, W)
        kernel = w["mha.attn.conv.weight"].repeat_interleave(d, 0)
        y = y + F.conv2d(image, kernel, padding=p["conv_size"] // 2, groups=c).reshape(b, h, d, n).transpose(2, 3)
    a = linear(y.transpose(1, 2).reshape(b, n, c), w, "mha.ff")
    z = layer_norm(x + a, w, "norm1")
    f = linear(F.gelu(linear(z, w, "ff1"), approximate="tanh"), w, "ff2")
    return {"out": layer_norm(z + f, w, "norm2"), "attn_out": a}
