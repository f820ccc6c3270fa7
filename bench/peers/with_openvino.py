# SPDX-License-Identifier: Apache-2.0
"""with_openvino.py - the subjects in OpenVINO: attention by its own operation, the rest read from ONNX."""
import numpy as np
import openvino
import openvino.opset13 as ops

from peers.graph import encoder_graph, plain_graph
from peers.made import made, qkv_shapes

VERSION = openvino.__version__.split("-")[0]


def attention_model(w):
    parameters = [ops.parameter(list(shape), np.float32) for shape in qkv_shapes(w)]
    result = ops.scaled_dot_product_attention(*parameters, causal=w.pattern == "causal")
    return openvino.Model([result], parameters), [made(*shape) for shape in qkv_shapes(w)]


def prepare(w, threads):
    core = openvino.Core()
    if w.op == "attention":
        model, values = attention_model(w)
    else:
        g, result = (encoder_graph if w.op == "encoder" else plain_graph)(w)
        model = core.read_model(g.bytes(result), b"")
        values = [g.inputs[p.get_friendly_name()] for p in model.get_parameters()]
    compiled = core.compile_model(model, "CPU", {
        "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if w.dtype == "bf16" else "f32"})
    request = compiled.create_infer_request()
    for i, value in enumerate(values):
        request.set_input_tensor(i, openvino.Tensor(value))
    return request.infer
