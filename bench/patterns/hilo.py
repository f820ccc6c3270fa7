# SPDX-License-Identifier: Apache-2.0
"""hilo.py - HiLo attention in plain PyTorch."""
import torch
from plain import attention, linear


def run(p, t, w):
    assert p["part"] == "attn" and p["H"] % p["window_size"] == 0 and p["W"] % p["window_size"] == 0
    x, s, H, W, d = t["x"], p["window_size"], p["H"], p["W"], p["dim"] // p["num_heads"]
    B, N, C = x.shape
    low = int(p["num_heads"] * p["alpha"])
    high, rows, cols = p["num_heads"] - low, H // s, W // s
    cut = x.reshape(B, rows, s, cols, s, C)
    cells = cut.transpose(2, 3).reshape(B, rows * cols, s * s, C)
    q, k, v = linear(cells, w, "h_qkv").reshape(B, rows * cols, s * s, 3, high, d).permute(3, 0, 1, 4, 2, 5)
    fine = attention(q, k, v).transpose(2, 3).reshape(B, rows, cols, s, s, high * d)
    fine = linear(fine.transpose(2, 3).reshape(B, N, high * d), w, "h_proj")
    q = linear(x, w, "l_q").reshape(B, N, low, d).transpose(1, 2)
    k, v = linear(cut.mean((2, 4)).reshape(B, -1, C), w, "l_kv").reshape(B, -1, 2, low, d).permute(2, 0, 3, 1, 4)
    coarse = linear(attention(q, k, v).transpose(1, 2).reshape(B, N, low * d), w, "l_proj")
    return {"y": torch.cat([fine, coarse], -1)}
