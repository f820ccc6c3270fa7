# SPDX-License-Identifier: Apache-2.0
"""maxvit.py - MBConv, block attention and grid attention in plain PyTorch."""
import torch
import torch.nn.functional as F
from plain import attention, batch_norm, conv, layer_norm, linear


def gelu(x):
    return F.gelu(x, approximate="tanh")


def mbconv(x, w):
    z = gelu(batch_norm(conv(batch_norm(x, w, "conv.pre_norm", 1e-3), w, "conv.conv1_1x1"), w, "conv.norm1", 1e-3))
    z = conv(z, w, "conv.conv2_kxk", padding=1, groups=z.shape[1])
    z = gelu(batch_norm(z, w, "conv.norm2", 1e-3))
    gate = conv(F.silu(conv(z.mean((2, 3), keepdim=True), w, "conv.se.fc1")), w, "conv.se.fc2").sigmoid()
    return conv(z * gate, w, "conv.conv3_1x1") + x


def layer(x, w, pre, size, width, is_grid):
    B, H, W, C = x.shape
    a, b = size
    z = layer_norm(x, w, pre + "norm1")
    if is_grid:
        z = z.reshape(B, a, H // a, b, W // b, C).permute(0, 2, 4, 1, 3, 5)
    else:
        z = z.reshape(B, H // a, a, W // b, b, C).permute(0, 1, 3, 2, 4, 5)
    z = z.reshape(-1, a * b, C)
    q, k, v = linear(z, w, pre + "attn.qkv").reshape(-1, a * b, 3, C // width, width).permute(2, 0, 3, 1, 4)
    rows, cols = torch.arange(a * b) // b, torch.arange(a * b) % b
    table = w[pre + "attn.rel_pos.relative_position_bias_table"]
    bias = table[:, rows[None] - rows[:, None] + a - 1, cols[None] - cols[:, None] + b - 1]
    z = linear(attention(q, k, v, attn_mask=bias).transpose(1, 2).reshape(-1, a * b, C), w, pre + "attn.proj")
    z = z.reshape(B, H // a, W // b, a, b, C)
    z = z.permute(0, 3, 1, 4, 2, 5) if is_grid else z.permute(0, 1, 3, 2, 4, 5)
    x = x + z.reshape(B, H, W, C)
    return x + linear(gelu(linear(layer_norm(x, w, pre + "norm2"), w, pre + "mlp.fc1")), w, pre + "mlp.fc2")


def run(p, t, w):
    assert p["stride"] == 1
    x = mbconv(t["x"], w)
    block = layer(x.permute(0, 2, 3, 1), w, "attn_block.", p["window_size"], p["dim_head"], False)
    y = layer(block, w, "attn_grid.", p["grid_size"], p["dim_head"], True)
    return {"mbconv": x, "block": block.permute(0, 3, 1, 2), "y": y.permute(0, 3, 1, 2)}
