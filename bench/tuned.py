#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tunes many kernels, each of them from nothing.

usage: bench/tuned.py [--lappet PATH] [--prefix "CMD ..."] [--only TEXT] [--options "..."] [--bench N]

A line per configuration: how long tuning took, what the kernels gained alone, what the whole model gained (the tuner
runs it by default and by tuned schedules, in turns), and the speed by default as a part of the peak. With --bench N
`lappet bench` is run N times with and without records too, in turns, for the gain in least time. Ends with the number
of models that are slower than by default, beyond 2 %, and with the median gain where the default misses 0.7 of the
peak.
"""
import argparse
import json
import os
import shlex
import statistics
import subprocess
import tempfile

ATTENTION = "attention --dim B=1"
FNA = ("fna --param stride=[1,1] --param is_causal=[false,false] --dim B=1 --dim G=1 --dim R=1 --dim D=32"
       " --param kernel_size={k} --param dilation={d} --dim Y={y} --dim X={x}")
CONFIGURATIONS = (
    [f"{ATTENTION} --dim N={n}" for n in (49, 64, 100, 196, 333, 512, 1000, 1024, 2048)]
    + [f"{ATTENTION} --dim N={n} --param causal=true" for n in (256, 777, 1024)]
    + [f"{ATTENTION} --dim N={n} --param causal=true --param window={w}" for n, w in ((1024, 128), (1500, 100))]
    + [f"{ATTENTION} --dim N=512 --param dim_head={d}" for d in (32, 80, 128)]
    + [f"{ATTENTION} --dim N={n} --dim M=4096 --param heads=4" for n in (1, 4, 16)]
    + [f"{ATTENTION} --dim N=512 --param kv_heads=2", f"{ATTENTION} --dim N=512 --dtype bf16"]
    + [FNA.format(k="[7,7]", d="[1,1]", y=y, x=x) for y, x in ((32, 32), (45, 51), (64, 64))]
    + [FNA.format(k="[13,13]", d="[1,1]", y=40, x=40), FNA.format(k="[7,7]", d="[2,2]", y=56, x=56)]
    + [f"bench/models/{m}.lua" for m in ("conv3x3", "windows", "block_sparse", "decode")]
    + [f"examples/{m}.lua" for m in ("alibi_window", "dilated_grid", "routed_pruned")]
    + [f"examples/sentence-encoder/minilm.lua --dim N={n}" for n in (16, 61, 128)]
)


def run(command, prefix):
    done = subprocess.run(prefix + command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "failed")
    return json.loads(done.stdout)


def bench(lappet, words, prefix, turns):
    """Gain in least time, by the clock."""
    times = {"--no-tuning": [], "": []}
    for _ in range(turns):
        for extra, list_ in times.items():
            options = [extra] if extra else []
            list_.append(run([lappet, "bench", *words, *options, "--seconds", "0.3", "--json"], prefix)["run_s"]["min"])
    return min(times["--no-tuning"]) / min(times[""])


def measure(options, text):
    words = shlex.split(text) + ["--threads", "1"]
    prefix = shlex.split(options.prefix)
    report = run([options.lappet, "tune", *words, *shlex.split(options.options), "--json"], prefix)
    kernels = report["kernels"]
    before = sum(k["default_s"] * k["uses"] for k in kernels)
    after = sum(k["tuned_s"] * k["uses"] for k in kernels)
    whole = report["whole"]
    cost = run([options.lappet, "bench", *words, "--no-tuning", "--seconds", "0.01", "--json"], prefix)
    part = cost["flops"] / before * 1e-9 / cost["peak_gflops"] if before > 0 else 0.0
    return {"took": report["seconds"], "kernels": before / after if after > 0 else 1.0, "part": part,
            "timed": sum(k["timed"] for k in kernels), "rejected": sum(k["rejected"] for k in kernels),
            "whole": whole["default_s"] / whole["tuned_s"] if whole["tuned_s"] > 0 else 1.0,
            "taken_back": whole["taken_back"] is not None,
            "bench": bench(options.lappet, words, prefix, options.bench) if options.bench > 0 else None}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lappet", default="build/lappet")
    parser.add_argument("--prefix", default="")
    parser.add_argument("--only", default="")
    parser.add_argument("--options", default="")
    parser.add_argument("--bench", type=int, default=0)
    options = parser.parse_args()
    os.environ["LAPPET_CACHE"] = tempfile.mkdtemp(prefix="lappet-tuned-")
    slower, gains, count = 0, [], 0
    print(f"{'tune s':>6} {'timed':>5} {'rej.':>4} {'kernels':>8} {'model':>6} {'of peak':>7}  configuration", flush=True)
    for text in CONFIGURATIONS:
        if options.only not in text:
            continue
        try:
            m = measure(options, text)
        except (RuntimeError, ValueError) as error:
            print(f"{error}  {text}", flush=True)
            continue
        count += 1
        slower += m["whole"] < 0.98 and not m["taken_back"]
        if m["part"] < 0.7:
            gains.append(m["kernels"])
        by_clock = f"  by the clock {m['bench']:.2f}" if m["bench"] else ""
        print(f"{m['took']:6.1f} {m['timed']:5} {m['rejected']:4} {m['kernels']:8.2f} {m['whole']:6.2f} {m['part']:7.2f}"
              f"  {text}{'  (taken back)' if m['taken_back'] else ''}{by_clock}", flush=True)
    print(f"{count} configurations, {slower} slower than by default; median gain of kernels "
          f"{statistics.median(gains) if gains else 1.0:.2f} where the default misses 0.7 of the peak ({len(gains)})")


if __name__ == "__main__":
    main()
