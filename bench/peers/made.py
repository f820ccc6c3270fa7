# SPDX-License-Identifier: Apache-2.0
"""made.py - random arrays, and the sizes of the sentence encoder."""
import math

import numpy as np

LAYERS, WIDTH, HEADS, HIDDEN = 6, 384, 12, 1536
random = np.random.default_rng(0)


def made(*shape):
    return (random.standard_normal(shape, np.float32) / np.float32(math.sqrt(shape[-1])))


def qkv_shapes(w):
    """Shapes of q, k and v: batch, heads, tokens, width."""
    keys = (w.batch, w.kv_heads or w.heads, w.keys or w.queries, w.width)
    return (w.batch, w.heads, w.queries, w.width), keys, keys
