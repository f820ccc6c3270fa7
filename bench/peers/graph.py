# SPDX-License-Identifier: Apache-2.0
"""graph.py - the subjects as ONNX graphs, for ONNX Runtime and OpenVINO."""
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from peers.made import HEADS, HIDDEN, LAYERS, WIDTH, made


class Graph:
    """A graph under construction: calling it adds a node and gives its result's name."""

    def __init__(self):
        self.nodes, self.constants, self.inputs = [], [], {}

    def constant(self, value):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def input(self, *shape):
        name = f"x{len(self.inputs)}"
        self.inputs[name] = made(*shape)
        return name

    def __call__(self, op, *args, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(args), [name], **attributes))
        return name

    def bytes(self, result):
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape)
                  for name, value in self.inputs.items()]
        output = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "subject", inputs, [output], self.constants)
        sets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=sets, ir_version=9).SerializeToString()


def plain_graph(w):
    g = Graph()
    if w.op == "matmul":
        m, n, k = w.shape
        return g, g("MatMul", g.input(m, k), g.input(k, n))
    if w.op == "conv":
        into, out, size, side, groups = w.shape
        weight = g.constant(made(out, into // groups, size, size))
        return g, g("Conv", g.input(1, into, side, side), weight, pads=[size // 2] * 4, group=groups)
    x, width = g.input(*w.shape), w.shape[-1]
    if w.op == "layernorm":
        return g, g("LayerNormalization", x, g.constant(made(width)), g.constant(made(width)), axis=-1)
    if w.op == "softmax":
        return g, g("Softmax", x, axis=-1)
    z = g("Add", g("Mul", g.constant(made(width)), x), g.constant(made(width)))     # chain
    return g, g("Add", g("Mul", z, g("Sigmoid", z)), x)


def encoder_graph(w):
    """Attention as plain nodes: what exporters write, for the runtimes to fuse."""
    g, tokens = Graph(), w.shape[0]

    def linear(x, into, outof):
        return g("Add", g("MatMul", x, g.constant(made(outof, into))), g.constant(made(into)))

    def heads(x, perm):
        shape = np.array([1, tokens, HEADS, WIDTH // HEADS])
        return g("Transpose", g("Reshape", linear(x, WIDTH, WIDTH), g.constant(shape)), perm=perm)

    def norm(x):
        scale, bias = g.constant(made(WIDTH)), g.constant(made(WIDTH))
        return g("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-12)

    x = g.input(1, tokens, WIDTH)
    for _ in range(LAYERS):
        q, k, v = heads(x, [0, 2, 1, 3]), heads(x, [0, 2, 3, 1]), heads(x, [0, 2, 1, 3])
        scores = g("Mul", g("MatMul", q, k), g.constant(np.float32((WIDTH // HEADS) ** -0.5)))
        o = g("Transpose", g("MatMul", g("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
        o = g("Reshape", o, g.constant(np.array([1, tokens, WIDTH])))
        x = norm(g("Add", x, linear(o, WIDTH, WIDTH)))
        x = norm(g("Add", x, linear(g("Gelu", linear(x, HIDDEN, WIDTH)), WIDTH, HIDDEN)))
    mean = g("ReduceMean", x, g.constant(np.array([1])), keepdims=0)
    return g, g("LpNormalization", mean, axis=-1, p=2)
