# SPDX-License-Identifier: Apache-2.0
"""patterns_peer.py CASE THREADS SECONDS - times a mechanism in plain PyTorch on a case file that `lappet bench --case`
wrote; prints the least time in seconds as JSON. First it compares with the outputs in the case: both must compute the
same thing."""
import importlib
import json
import math
import os
import sys
import time

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "patterns"))
TYPES = {"F32": torch.float32, "I64": torch.int64, "U8": torch.uint8, "BOOL": torch.bool}


def read(path):
    """Metadata, and tensors by the part of their names before the first dot."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = bytearray(file.read())
    meta, parts = header.pop("__metadata__"), {"in": {}, "w": {}, "out": {}}
    for name, entry in header.items():
        part, _, rest = name.partition(".")
        begin, end = entry["data_offsets"]
        kind = TYPES[entry["dtype"]]
        flat = torch.frombuffer(data, dtype=kind, offset=begin, count=(end - begin) // kind.itemsize)
        parts[part][rest] = flat.reshape(entry["shape"]).clone()
    return meta, parts


def distance(got, want):
    """The difference's norm over that of what is wanted; of integers and booleans the share that differs.
    Rounding moves what is near a threshold, a choice or a code, and what follows from it."""
    if got.shape != want.shape:
        return math.inf
    got, want = got.double(), want.double()
    if want.frac().abs().max() == 0:
        return (got != want).double().mean().item()
    return ((got - want).norm() / want.norm()).item()


def main():
    path, threads, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    meta, parts = read(path)
    params = json.loads(meta["params"])
    module = importlib.import_module(meta["pattern"])

    def run():
        return module.run(params, parts["in"], parts["w"])

    got = run()
    for name, want in parts["out"].items():
        far = distance(got[name], want)
        if not far < 5e-3:
            sys.exit(f"{meta['pattern']}: output '{name}' is {far:.3g} from that of the case")
    least, end, n = math.inf, time.perf_counter() + seconds, 0
    while n < 1 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - start)
        n += 1
    print(json.dumps({"least": least, "version": torch.__version__}))


main()
