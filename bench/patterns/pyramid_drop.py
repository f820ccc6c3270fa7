# SPDX-License-Identifier: Apache-2.0
"""pyramid_drop.py - a decoder that drops visual tokens by stages in plain PyTorch, a row at a time."""
import torch
import torch.nn.functional as F
from plain import Decoder, attention, linear


def row_of(p, net, x, at):
    kept, alive, stage = p["n_visual"], torch.arange(p["n_visual"]), []
    for i in range(p["n_layers"]):
        q, k, v = net.qkv(i, x, torch.arange(x.shape[0]))
        x = net.finish(i, x, attention(q, k, v, is_causal=True))
        if i + 1 not in p["layer_list"]:
            continue
        j = p["layer_list"].index(i + 1)
        to = int(p["n_visual"] * p["ratio_list"][j])
        if at >= 0:
            q, k = net.qkv(i + 1, x, torch.arange(x.shape[0]), "qk")
            prob = (q[:, -1:] @ k.transpose(1, 2) * q.shape[-1] ** -0.5).softmax(-1)
            top = prob[:, 0, at:at + kept].mean(0).topk(to).indices.sort().values
            x = torch.cat([x[:at], x[at + top], x[at + kept:]])
            alive, kept = alive[top], to
        stage.append(alive if at >= 0 else torch.full((to,), -1))
    return net.last(x), stage


def run(p, t, w):
    assert p["decode_steps"] == 0
    net, rows, stages = Decoder(p, w), [], []
    for x, at, text in zip(t["embeds"], t["image_pos"].tolist(), t["prompt_len"].tolist()):
        row, stage = row_of(p, net, x[:text + (p["n_visual"] if at >= 0 else 0)], at)
        rows.append(row)
        stages.append(stage)
    longest = max(len(row) for row in rows)
    out = {"hidden": torch.stack([F.pad(row, (0, 0, 0, longest - len(row))) for row in rows]),
           "lengths": torch.tensor([len(row) for row in rows]),
           "logits_last": linear(torch.stack([row[-1] for row in rows]), w, "lm_head")}
    for j in range(len(p["layer_list"])):
        out[f"keep_{j}"] = torch.stack([stage[j] for stage in stages])
    return out
