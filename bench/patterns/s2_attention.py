# SPDX-License-Identifier: Apache-2.0
"""s2_attention.py - block-sparse attention with a shard per head in plain PyTorch, a head at a time: the
scores of all would not fit in the memory of small machines."""
import torch


def run(p, t, w):
    assert p["causal"] and not p["homo_head"] and p["num_dense_heads"] == 0 and p["past_len"] == 0
    q, k, v = (t[n].transpose(1, 2) for n in "qkv")
    B, H, N, d = q.shape
    size, stride = p["block_size"], p["vert_stride"]
    blocks = -(-N // size)
    i, j = torch.arange(blocks)[:, None], torch.arange(blocks)[None]
    step = p["head_sliding_step"] or max(1, stride // H)
    causal = torch.ones(N, N, dtype=torch.bool).tril()
    scale = p["sm_scale"] or d ** -0.5
    out, lse, masks = torch.empty(B, H, N, d), torch.empty(B, H, N), []
    for h in range(H):
        g = h // (H // p["num_kv_heads"])
        see = ((j + g * step + p["head_sliding_offset"]) % stride == 0) | (i - j < p["local_blocks"])
        masks.append(see & (j <= i))
        mask = masks[h].repeat_interleave(size, 0).repeat_interleave(size, 1)[:N, :N] & causal
        score = (q[:, h] @ k[:, g].transpose(-1, -2) * scale).masked_fill_(~mask, float("-inf"))
        lse[:, h] = score.logsumexp(-1)
        out[:, h] = score.softmax(-1) @ v[:, g]
    return {"out": out.transpose(1, 2), "lse": lse, "block_mask": torch.stack(masks)}
