#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tunes many kernels, then times each model by default and by tuned schedules, in turns.

usage: bench/tuned.py [--lappet PATH] [--prefix "CMD ..."] [--only TEXT] [--turns N]

A line per configuration: times as the tuner measured its kernels, and what the whole model gained afterwards
(least time of all turns). LAPPET_CACHE is a fresh folder. Ends with the number of those slower than by default,
beyond 5 %, and with the median gain where the default misses 0.7 of the peak.
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
    + [f"{ATTENTION} --dim N=512 --param kv_heads=2"]
    + [FNA.format(k="[7,7]", d="[1,1]", y=y, x=x) for y, x in ((32, 32), (45, 51), (64, 64))]
    + [FNA.format(k="[13,13]", d="[1,1]", y=40, x=40), FNA.format(k="[7,7]", d="[2,2]", y=56, x=56)]
    + [f"bench/models/{m}.lua" for m in ("chain", "conv3x3", "windows", "block_sparse", "listed", "decode")]
    + [f"examples/{m}.lua" for m in ("alibi_window", "dilated_grid", "routed_pruned")]
    + [f"examples/sentence-encoder/minilm.lua --dim N={n}" for n in (16, 61, 128)]
)


def run(command, prefix):
    done = subprocess.run(prefix + command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "failed")
    return json.loads(done.stdout)


def least(lappet, words, extra, prefix, seconds):
    bench = run([lappet, "bench", *words, *extra, "--seconds", str(seconds), "--json"], prefix)
    return bench["run_s"]["min"], bench["fraction_of_peak"]


def measure(lappet, text, prefix, turns):
    words = shlex.split(text) + ["--threads", "1"]
    report = run([lappet, "tune", *words, "--json"], prefix)
    default, tuned, part = [], [], 0.0
    for _ in range(turns):
        for extra, times in ((["--no-tuning"], default), ([], tuned)):
            seconds, fraction = least(lappet, words, extra, prefix, 0.25)
            times.append(seconds)
            part = max(part, fraction) if times is default else part
    kernels = report["kernels"]
    before = sum(k["default_s"] * k["uses"] for k in kernels)
    after = sum(k["tuned_s"] * k["uses"] for k in kernels)
    return report["seconds"], before, after, min(default), min(tuned), part


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lappet", default="build/lappet")
    parser.add_argument("--prefix", default="")
    parser.add_argument("--only", default="")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    os.environ["LAPPET_CACHE"] = tempfile.mkdtemp(prefix="lappet-tuned-")
    slower, gains, count = 0, [], 0
    print(f"{'configuration':100} {'tune s':>6} {'kernels':>8} {'model':>6} {'of peak':>7}", flush=True)
    for text in CONFIGURATIONS:
        if options.only not in text:
            continue
        try:
            took, before, after, default, tuned, part = measure(
                options.lappet, text, shlex.split(options.prefix), options.turns)
        except (RuntimeError, ValueError) as error:
            print(f"{text:100} {error}", flush=True)
            continue
        kernels = before / after if after > 0 else 1.0
        model = default / tuned
        slower += model < 0.95
        count += 1
        if part < 0.7:
            gains.append(kernels)
        print(f"{text:100} {took:6.1f} {kernels:8.2f} {model:6.2f} {part:7.2f}", flush=True)
    print(f"{count} configurations, {slower} slower than by default; median gain of kernels "
          f"{statistics.median(gains) if gains else 1.0:.2f} where the default misses 0.7 of the peak ({len(gains)})")


if __name__ == "__main__":
    main()
