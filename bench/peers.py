# SPDX-License-Identifier: Apache-2.0
"""peers.py SUBJECT PEER THREADS SECONDS - times one subject in one peer; prints the least time in seconds.

SUBJECT: encoder, matmul, attention, attention-causal. PEER: torch or onnxruntime. Weights and inputs are
random: no subject's time depends on them."""
import math
import sys
import time

import numpy as np

LAYERS, WIDTH, HEADS, HIDDEN, TOKENS = 6, 384, 12, 1536, 128
random = np.random.default_rng(0)


def made(*shape):
    return (random.standard_normal(shape) / math.sqrt(shape[-1])).astype(np.float32)


def torch_subject(subject, threads):
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)

    def tensor(*shape):
        return torch.from_numpy(made(*shape))

    if subject == "matmul":
        a, b = tensor(1024, 1024), tensor(1024, 1024)
        return lambda: a @ b
    if subject.startswith("attention"):
        q, k, v = (tensor(1, 8, 1024, 64) for _ in range(3))
        return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=subject == "attention-causal")

    def layer():
        shapes = [(3 * WIDTH, WIDTH), (WIDTH, WIDTH), (HIDDEN, WIDTH), (WIDTH, HIDDEN)]
        linears = [(tensor(*s), tensor(s[0])) for s in shapes]
        return linears + [(tensor(WIDTH), tensor(WIDTH)) for _ in range(2)]

    layers, x0 = [layer() for _ in range(LAYERS)], tensor(1, TOKENS, WIDTH)

    def encoder():
        x = x0
        for qkv, proj, up, down, norm1, norm2 in layers:
            heads = F.linear(x, *qkv).view(1, TOKENS, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
            o = F.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(1, TOKENS, WIDTH)
            x = F.layer_norm(x + F.linear(o, *proj), (WIDTH,), *norm1, 1e-12)
            x = F.layer_norm(x + F.linear(F.gelu(F.linear(x, *up)), *down), (WIDTH,), *norm2, 1e-12)
        return F.normalize(x.mean(1))

    return encoder


class Onnx:
    """A graph under construction."""

    def __init__(self):
        self.nodes, self.constants, self.inputs = [], [], {}

    def constant(self, value):
        from onnx import numpy_helper
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def input(self, *shape):
        name = f"x{len(self.inputs)}"
        self.inputs[name] = made(*shape)
        return name

    def __call__(self, op, *args, **attributes):
        from onnx import helper
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(args), [name], **attributes))
        return name

    def session(self, result, threads):
        import onnxruntime
        from onnx import TensorProto, helper
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape)
                  for name, value in self.inputs.items()]
        output = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "subject", inputs, [output], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, self.inputs)


def onnx_attention(g, q, k, v, width, tokens, causal):
    scores = g("Mul", g("MatMul", q, k), g.constant(np.float32(width ** -0.5)))
    if causal:
        mask = np.triu(np.full((tokens, tokens), -np.inf, np.float32), 1)
        scores = g("Add", scores, g.constant(mask))
    return g("MatMul", g("Softmax", scores, axis=-1), v)


def onnx_subject(subject, threads):
    g = Onnx()
    if subject == "matmul":
        return g.session(g("MatMul", g.input(1024, 1024), g.input(1024, 1024)), threads)
    if subject.startswith("attention"):
        q, k, v = (g.input(1, 8, 1024, 64) for _ in range(3))
        k = g("Transpose", k, perm=[0, 1, 3, 2])
        return g.session(onnx_attention(g, q, k, v, 64, 1024, subject == "attention-causal"), threads)

    def linear(x, into, outof):
        return g("Add", g("MatMul", x, g.constant(made(outof, into))), g.constant(made(into)))

    def heads(x, perm):
        shape = np.array([1, TOKENS, HEADS, WIDTH // HEADS])
        return g("Transpose", g("Reshape", linear(x, WIDTH, WIDTH), g.constant(shape)), perm=perm)

    def norm(x):
        scale, bias = g.constant(made(WIDTH)), g.constant(made(WIDTH))
        return g("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-12)

    x = g.input(1, TOKENS, WIDTH)
    for _ in range(LAYERS):
        q, k, v = heads(x, [0, 2, 1, 3]), heads(x, [0, 2, 3, 1]), heads(x, [0, 2, 1, 3])
        o = g("Transpose", onnx_attention(g, q, k, v, WIDTH // HEADS, TOKENS, False), perm=[0, 2, 1, 3])
        o = g("Reshape", o, g.constant(np.array([1, TOKENS, WIDTH])))
        x = norm(g("Add", x, linear(o, WIDTH, WIDTH)))
        x = norm(g("Add", x, linear(g("Gelu", linear(x, HIDDEN, WIDTH)), WIDTH, HIDDEN)))
    mean = g("ReduceMean", x, g.constant(np.array([1])), keepdims=0)
    return g.session(g("LpNormalization", mean, axis=-1, p=2), threads)


def main():
    subject, peer, threads, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    run = (torch_subject if peer == "torch" else onnx_subject)(subject, threads)
    for _ in range(3):
        run()
    least, end, n = math.inf, time.perf_counter() + seconds, 0
    while n < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - start)
        n += 1
    print(f"{least:.9f}")


main()
