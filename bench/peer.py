# SPDX-License-Identifier: Apache-2.0
"""peer.py PEER SUBJECT THREADS SECONDS - times one subject (subjects.py) in one peer; prints JSON.

{"least": seconds, "first": seconds of the first call, with its compilation, "version": ...}. Weights and inputs are
random: no subject's time depends on them."""
import importlib
import json
import math
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from subjects import BY_NAME

MODULES = {"torch": "peers.with_torch", "flex": "peers.with_flex", "onnxruntime": "peers.with_onnx",
           "openvino": "peers.with_openvino"}


def main():
    peer, name, threads, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    module = importlib.import_module(MODULES[peer])
    start = time.perf_counter()
    run = module.prepare(BY_NAME[name].work, threads)
    run()
    first = time.perf_counter() - start
    for _ in range(2):
        run()
    least, end, n = math.inf, time.perf_counter() + seconds, 0
    while n < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - start)
        n += 1
    print(json.dumps({"least": least, "first": first, "version": module.VERSION}))


main()
