# SPDX-License-Identifier: Apache-2.0
"""sparsifiner.py - transformer blocks with predicted attention masks in plain PyTorch."""
import math

import torch
import torch.nn.functional as F
from plain import attention, layer_norm, linear


def run(p, t, w):
    assert not any(p["prune_tokens"]) and p["coef_topk"] == 0 and p["coef_threshold"] == 0
    assert p["score_threshold"] == 0 and not p["share_inout_proj"]
    x, h, out = t["x"], p["num_heads"], {}
    B, N, C = x.shape
    for i, rate in enumerate(p["attn_keep_rates"]):
        pre = f"blocks.{i}."
        guess = pre + "attn.mask_predictor."
        qkv = linear(layer_norm(x, w, pre + "norm1", 1e-6), w, pre + "attn.qkv")
        q, k, v = qkv.reshape(B, N, 3, h, C // h).permute(2, 0, 3, 1, 4)
        low = linear(k, w, guess + "proj_c_k").transpose(-1, -2) @ w[guess + "proj_n"]
        coef = ((linear(q, w, guess + "proj_c_q") @ low) * h ** -0.5)[:, :, 1:].softmax(-1)
        basis = w[guess + "proj_back_n"].T.abs()
        score = coef @ (basis * (basis > p["basis_threshold"]))
        mask = torch.ones(B, h, N, N, dtype=torch.bool)
        mask[:, :, 1:] = torch.zeros(score.shape, dtype=torch.bool).scatter(
            -1, score.topk(math.ceil(rate * N), dim=-1).indices, True)
        o = attention(q, k, v, attn_mask=mask)
        x = x + linear(o.transpose(1, 2).reshape(B, N, C), w, pre + "attn.proj")
        x = x + linear(F.gelu(linear(layer_norm(x, w, pre + "norm2", 1e-6), w, pre + "mlp.fc1")), w, pre + "mlp.fc2")
        out[f"approx_attn_{i}"], out[f"attn_mask_{i}"] = score, mask
    return {**out, "out": x}
