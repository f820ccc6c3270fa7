# SPDX-License-Identifier: Apache-2.0
"""block_transformer.py - a transformer over blocks and one inside them, teacher forced, in plain PyTorch."""
import torch
import torch.nn.functional as F
from plain import attention, layer_norm, linear


def turn(x, width, base):
    angle = torch.arange(x.shape[-2]).float()[:, None] * base ** (-torch.arange(0, width, 2).float() / width)
    c, s, (lo, hi, rest) = angle.cos(), angle.sin(), x.split([width // 2, width // 2, x.shape[-1] - width], -1)
    return torch.cat([lo * c - hi * s, hi * c + lo * s, rest], -1)


def stack(p, x, w, which, mask):
    B, T, D = x.shape
    pre, heads = which + "_decoder.gpt_neox.", p[which + "_heads"]
    for i in range(p[which + "_layers"]):
        name = f"{pre}layers.{i}."
        qkv = linear(layer_norm(x, w, name + "input_layernorm", p["layer_norm_eps"]), w, name + "attention.query_key_value")
        q, k, v = qkv.reshape(B, T, heads, 3, D // heads).permute(3, 0, 2, 1, 4)
        width = int(D // heads * p["rotary_pct"])
        q, k = turn(q, width, p["rotary_base"]), turn(k, width, p["rotary_base"])
        o = attention(q, k, v, attn_mask=mask).transpose(1, 2).reshape(B, T, D)
        y = layer_norm(x, w, name + "post_attention_layernorm", p["layer_norm_eps"])
        y = linear(F.gelu(linear(y, w, name + "mlp.dense_h_to_4h")), w, name + "mlp.dense_4h_to_h")
        x = x + linear(o, w, name + "attention.dense") + y
    return layer_norm(x, w, pre + "final_layer_norm", p["layer_norm_eps"])


def run(p, t, w):
    assert p["mode"] == "forward" and p["decoding_strategy"] == "prefix" and p["projection_method"] == "concat"
    assert p["n_embedding_tokens"] == 1 and p["parallel_residual"] and p["expansion_method"]
    ids, real, live = t["input_ids"], t["attention_mask"] > 0, t["block_attention_mask"] > 0
    B, NB, LB = ids.shape
    x = w["embedder.embeddings.weight"][ids].flatten(2)
    causal = torch.ones(NB, NB, dtype=torch.bool).tril()
    hidden = stack(p, x, w, "block", causal & live[:, None, None, :])
    kept = live[:, 1:].reshape(-1)                   # padded blocks are not computed
    context = F.linear(hidden[:, :-1].reshape(B * (NB - 1), -1)[kept], w["token_decoder.expansion_layer.weight"][..., 0],
                       w["token_decoder.expansion_layer.bias"]).reshape(-1, p["expansion_ratio"], p["token_hidden"])
    tokens, seen = ids[:, 1:].reshape(-1, LB)[kept], real[:, 1:].reshape(-1, LB)[kept]
    y = torch.cat([context, w["token_decoder.gpt_neox.embed_in.weight"][tokens[:, :-1]]], 1)
    keys = torch.cat([torch.ones(len(y), p["expansion_ratio"], dtype=torch.bool), seen[:, :-1]], 1)
    causal = torch.ones(y.shape[1], y.shape[1], dtype=torch.bool).tril()
    y = stack(p, y, w, "token", causal & keys[:, None, None, :])[:, -LB:]
    logits = F.linear(y, w["token_decoder.embed_out.weight"])
    logits = logits * ((tokens != p["pad_token_id"]) | seen)[..., None]
    out = torch.full((B * (NB - 1), LB, p["vocab_size"]), float(p["eos_token_id"]))
    out[kept] = logits
    return {"logits": out.reshape(B, NB - 1, LB, -1), "block_hidden": hidden}
