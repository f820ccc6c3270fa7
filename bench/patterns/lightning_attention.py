# SPDX-License-Identifier: Apache-2.0
"""lightning_attention.py - linear attention with decay, by blocks, in plain PyTorch."""
import torch


def run(p, t, w):
    assert p["variant"] == "attention" and not p["backward"] and "state" not in t
    q, k, v, size = t["q"], t["k"], t["v"], p["block"]
    slope, n = t["slope"].reshape(1, -1, 1, 1), q.shape[2]
    i = torch.arange(size).float()[:, None]
    mask = torch.where(i >= i.T, torch.exp(-slope * (i - i.T).clamp_min(0)), torch.zeros(()))
    ahead, state = torch.exp(-slope * (i + 1)), torch.zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    intra, inter = torch.empty_like(v), torch.empty_like(v)
    for lo in range(0, n, size):
        hi = min(lo + size, n)
        m = hi - lo
        qb, kb, vb = q[:, :, lo:hi], k[:, :, lo:hi], v[:, :, lo:hi]
        intra[:, :, lo:hi] = (qb @ kb.transpose(-1, -2) * mask[:, :, :m, :m]) @ vb
        inter[:, :, lo:hi] = ahead[:, :, :m] * (qb @ state)
        to_end = torch.exp(-slope * (m - 1 - i[:m]))
        state = torch.exp(-slope * m) * state + (kb * to_end).transpose(-1, -2) @ vb
    return {"out": intra + inter, "out_intra": intra, "out_inter": inter, "state": state}
