# SPDX-License-Identifier: Apache-2.0
"""routing_transformer.py - attention inside k-means clusters in plain PyTorch."""
import torch
import torch.nn.functional as F


def rotary(x):                                      # neighbouring channels turn together
    n, d = x.shape[-2:]
    angle = torch.arange(n).float()[:, None] * 10000.0 ** (-torch.arange(0, d, 2).float() / d)
    c, s, even, odd = angle.cos(), angle.sin(), x[..., 0::2], x[..., 1::2]
    return torch.stack([even * c - odd * s, odd * c + even * s], -1).flatten(-2)


def run(p, t, w):
    assert p["flavour"] == "pytorch" and p["local_heads"] == 0 and p["num_mem_kv"] == 0
    assert not p["causal"] and not p["shared_qk"] and p["rotary"]
    x, d = t["x"], p["dim_head"]
    b, n, _ = x.shape
    means = w["global_attn.kmeans.means"]
    heads, clusters, size = means.shape[0], means.shape[1], min(p["window_size"], n)

    def project(name):
        return rotary(F.linear(x, w[name + ".weight"]).reshape(b, n, heads, d).transpose(1, 2))

    q, k, v = project("to_q"), project("to_k"), project("to_v")
    tokens = F.normalize(torch.cat([q, k], 2), dim=-1)
    near = tokens @ means.transpose(-1, -2)          # b h m c

    def members(a):
        return a.topk(size, dim=2).indices.transpose(2, 3).sort(-1).values

    qi, ki = members(near[:, :, :n]), members(near[:, :, n:])

    def take(a, index):
        return a.gather(2, index.flatten(2)[..., None].expand(-1, -1, -1, d)).reshape(b, heads, clusters, size, d)

    y = F.scaled_dot_product_attention(take(q, qi), take(k, ki), take(v, ki)).flatten(2, 3)
    place = qi.flatten(2)
    total = torch.zeros(b, heads, n, d).scatter_add(2, place[..., None].expand(-1, -1, -1, d), y)
    count = torch.zeros(b, heads, n).scatter_add(2, place, torch.ones(place.shape))
    y = (total / (count[..., None] + 1e-5)).transpose(1, 2).reshape(b, n, -1)
    hit = F.one_hot(near.argmax(-1), clusters).float()
    error = tokens - hit @ means
    new = F.normalize(torch.einsum("bhmc,bhmd->hcd", hit, tokens), dim=-1)
    new = torch.where(hit.sum((0, 2))[..., None] == 0, means, new)
    decay = p["ema_decay"]
    return {"out": F.linear(y, w["to_out.weight"]), "q_members": qi, "k_members": ki,
            "aux_loss": (p["commitment"] * (error * error).mean()).reshape(1),
            "means_new": decay * means + (1 - decay) * new}
