# SPDX-License-Identifier: Apache-2.0
"""with_onnx.py - the subjects in ONNX Runtime; attention by its own fused operator."""
import numpy as np
import onnxruntime

from peers.graph import Graph, encoder_graph, plain_graph
from peers.made import qkv_shapes

VERSION = onnxruntime.__version__


def attention_graph(w):
    """MultiHeadAttention takes q as batch, tokens, heads x width, k and v as batch, heads, tokens, width."""
    g = Graph()
    shapes = qkv_shapes(w)
    q = g.input(w.batch, w.queries, w.heads * w.width)
    k, v = (g.input(*shape) for shape in shapes[1:])
    options = {"unidirectional": 1} if w.pattern == "causal" else {}
    return g, g("MultiHeadAttention", q, k, v, domain="com.microsoft", num_heads=w.heads, **options)


def prepare(w, threads):
    g, result = (attention_graph if w.op == "attention" else encoder_graph if w.op == "encoder" else plain_graph)(w)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(g.bytes(result), options, providers=["CPUExecutionProvider"])
    inputs = {name: np.ascontiguousarray(value) for name, value in g.inputs.items()}
    return lambda: session.run(None, inputs)
