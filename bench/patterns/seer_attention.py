# SPDX-License-Identifier: Apache-2.0
"""seer_attention.py - causal attention on the blocks of a learned gate in plain PyTorch."""
import torch
from plain import attention, linear, rope


def run(p, t, w):
    assert p["sparsity_method"] == "threshold" and not p["distill"]
    x, h, g, d, b = t["x"], p["num_heads"], p["num_kv_heads"], p["head_dim"], p["block_size"]
    B, N, _ = x.shape
    assert N % b == 0

    def heads(name):
        return linear(x, w, name).reshape(B, N, -1, d).transpose(1, 2)

    q, k, v = heads("q_proj"), heads("k_proj"), heads("v_proj")

    def pooled(a, kinds):
        a = a.reshape(B, a.shape[1], N // b, b, d)
        ways = {"avg": a.mean, "max": a.amax, "min": a.amin}
        return torch.cat([ways[kind](3) for kind in kinds], -1)

    at = torch.arange(N // b) * b
    gq = rope(pooled(q, p["q_pool"]) @ w["attn_gate.mask_linear_q.weight"], at, p["rope_theta"])
    gk = rope(pooled(k, p["k_pool"]) @ w["attn_gate.mask_linear_k.weight"], at, p["rope_theta"])
    seen = torch.ones(N // b, N // b, dtype=torch.bool).tril()
    logit = gq @ gk.repeat_interleave(h // g, 1).transpose(-1, -2) * p["gate_hidden_size"] ** -0.5
    prob = logit.masked_fill(~seen, float("-inf")).softmax(-1)
    blocks = prob > p["threshold"]
    if p["last_block_dense"]:
        blocks[:, :, -2:] = True
    blocks = blocks & seen
    mask = blocks.repeat_interleave(b, 2).repeat_interleave(b, 3) & torch.ones(N, N, dtype=torch.bool).tril()
    at = torch.arange(N)
    q, k = rope(q, at, p["rope_theta"]), rope(k, at, p["rope_theta"])
    y = attention(q, k, v, attn_mask=mask, enable_gqa=True).transpose(1, 2).reshape(B, N, -1)
    return {"out": linear(y, w, "o_proj"), "gate_prob": prob, "block_mask": blocks}
