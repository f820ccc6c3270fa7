# SPDX-License-Identifier: Apache-2.0
"""mamba_yolo.py - the VSS block in plain PyTorch; the scan is a loop over the places, all directions at once."""
import torch
import torch.nn.functional as F
from plain import batch_norm, channel_norm, conv


def scan(x, w, pre):
    B, d, H, W = x.shape
    rows = x.flatten(2)
    cols = x.transpose(2, 3).flatten(2)
    u = torch.stack([rows, cols, rows.flip(-1), cols.flip(-1)], 1)                  # B 4 d L
    states, rank = w[pre + "A_logs"].shape[1], w[pre + "dt_projs_weight"].shape[2]
    step, Bs, Cs = (w[pre + "x_proj_weight"] @ u).split([rank, states, states], 2)
    delta = F.softplus(w[pre + "dt_projs_weight"] @ step + w[pre + "dt_projs_bias"][..., None])
    A = -torch.exp(w[pre + "A_logs"]).reshape(4, d, 1, states)
    decay = torch.exp(delta[..., None] * A)                                         # B 4 d L N
    write = (delta * u)[..., None] * Bs.transpose(2, 3)[:, :, None]
    h, ys = torch.zeros(B, 4, d, states), []
    for t in range(H * W):
        h = decay[:, :, :, t] * h + write[:, :, :, t]
        ys.append((h @ Cs[:, :, :, t, None])[..., 0])
    y = torch.stack(ys, -1) + w[pre + "Ds"].reshape(4, d, 1) * u
    y = y[:, :2] + y[:, 2:].flip(-1)
    return y[:, 0].reshape(B, d, H, W) + y[:, 1].reshape(B, d, W, H).transpose(2, 3)


def ss2d(p, x, w, pre):
    assert pre + "in_rank.weight" not in w
    u, z = conv(x, w, pre + "in_proj").chunk(2, 1)
    u = F.gelu(conv(u, w, pre + "conv2d", padding=p["d_conv"] // 2, groups=u.shape[1]))
    y = channel_norm(scan(u, w, pre), w, pre + "out_norm", 1e-5)
    return conv(y * F.gelu(z), w, pre + "out_proj")


def run(p, t, w):
    assert p["variant"] == "vss"
    x = F.silu(batch_norm(conv(t["x"], w, "proj_conv.0"), w, "proj_conv.1"))
    y = conv(batch_norm(conv(x, w, "lsblock.fc1", padding=1, groups=x.shape[1]), w, "lsblock.norm"), w, "lsblock.fc2")
    y = x + conv(F.gelu(y), w, "lsblock.fc3")
    first = ss2d(p, channel_norm(y, w, "norm.norm", 1e-6), w, "op.")
    x = x + first
    a, v = conv(channel_norm(x, w, "norm2.norm", 1e-6), w, "mlp.fc1").chunk(2, 1)
    a = F.gelu(conv(a, w, "mlp.dwconv", padding=1, groups=a.shape[1]) + a) * v
    return {"out": x + conv(a, w, "mlp.fc2"), "ss2d_out": first}
