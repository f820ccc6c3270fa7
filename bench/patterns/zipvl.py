# SPDX-License-Identifier: Apache-2.0
"""zipvl.py - attention among the tokens that carry most of it, and their quantised cache, in plain PyTorch."""
import torch
from plain import Decoder, attention, linear


def pick(prob, tau):                                # prob [H, r, m]: the keys that matter, bool [m]
    mean = prob.mean(0)
    mass = mean.sum(0)
    heavy = mass.sort(descending=True).values.cumsum(0)
    count = min(int((heavy < tau * mass.sum()).sum()) + 1, len(mass))
    keep = torch.zeros(len(mass), dtype=torch.bool)
    keep[(mass / (mean > 0).sum(0)).topk(count).indices] = True
    return keep


def codes(x, axis, bits):
    lo, hi = x.amin(axis, keepdim=True), x.amax(axis, keepdim=True)
    step = (hi - lo) / (2 ** bits - 1)
    return torch.where(step > 0, ((x - lo) / step).round(), 0.0), lo, step


def compress(k, v, keep, p):
    n, c = k.shape
    r = {"k_codes": torch.zeros(n, c), "v_codes": torch.zeros(n, c), "k_min": torch.zeros(2, c),
         "k_step": torch.zeros(2, c), "v_min": torch.zeros(n), "v_step": torch.zeros(n)}
    r["v_scale"] = v.abs().amax(0).sqrt()
    u = v / r["v_scale"]
    for group, (chosen, bits) in enumerate(((keep, p["bits_high"]), (~keep, p["bits_low"]))):
        if chosen.any():
            r["k_codes"][chosen], lo, step = codes(k[chosen], 0, bits)
            r["k_min"][group], r["k_step"][group] = lo[0], step[0]
            r["v_codes"][chosen], lo, step = codes(u[chosen], 1, bits)
            r["v_min"][chosen], r["v_step"][chosen] = lo[:, 0], step[:, 0]
    return r


def row_of(p, net, x, probe):
    at, per_layer, shared = torch.arange(len(x)), [], p["n_heads"] // p["n_kv_heads"]
    for i in range(p["n_layers"]):
        q, k, v = net.qkv(i, x, at)
        keys, values = k.repeat_interleave(shared, 0), v.repeat_interleave(shared, 0)
        score = q[:, probe] @ keys.transpose(1, 2) * q.shape[-1] ** -0.5
        keep = pick(score.masked_fill(at[None] > probe[:, None], -torch.inf).softmax(-1), p["tau"])
        o = torch.zeros_like(q)
        o[:, keep] = attention(q[:, keep], keys[:, keep], values[:, keep], is_causal=True)
        x = net.finish(i, x, o)
        r = compress(k.transpose(0, 1).flatten(1), v.transpose(0, 1).flatten(1), keep, p)
        per_layer.append({**r, "important": keep, "n_important": keep.sum()})
    row = {name: torch.stack([r[name] for r in per_layer]) for name in per_layer[0]}
    row["hidden"] = net.last(x)
    return row


def run(p, t, w):
    assert p["decode_steps"] == 0
    net = Decoder(p, w)
    rows = [row_of(p, net, x, probe) for x, probe in zip(t["embeds"], t["probe_ids"])]
    out = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    out["logits_last"] = linear(out["hidden"][:, -1], w, "lm_head")
    return out
