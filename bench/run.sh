#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh - times lappet beside PyTorch and ONNX Runtime and writes the table of docs/performance.md.
#
# THREADS (1) and SECONDS (3) per measurement; BENCH_PYTHON names a Python that has the peers, else
# build/bench-venv is made. One process after another; of repeated runs the least time counts.
set -eu
cd "$(dirname "$0")/.."
threads=${THREADS:-1}
seconds=${SECONDS_EACH:-3}
python=${BENCH_PYTHON:-build/bench-venv/bin/python}
lappet=${LAPPET:-build/lappet}
out=${BENCH_OUT:-docs/performance.md}

if [ ! -x "$python" ]; then
    scripts/setup.sh bench
    echo "installing PyTorch and ONNX Runtime into build/bench-venv ..."
    python3 -m venv build/bench-venv
    build/bench-venv/bin/pip install -q --disable-pip-version-check torch onnxruntime onnx numpy
fi

field() { python3 -c 'import json, sys; d = json.load(sys.stdin)
for k in sys.argv[1].split("."): d = d[k]
print(d)' "$1"; }
peer() { taskset -c "$cores" "$python" bench/peers.py "$1" "$2" "$threads" "$seconds" 2>/dev/null || echo nan; }
version() { "$python" -c "import $1; print($1.__version__)" 2>/dev/null || echo "not installed"; }
cores=0-$((threads - 1))
rows=build/bench-rows.txt
: > $rows

subject() {     # subject NAME TITLE MODEL OPTIONS...
    name=$1 title=$2
    shift 2
    json=$(taskset -c "$cores" "$lappet" bench "$@" --threads "$threads" --seconds "$seconds" --json)
    echo "$name|$title|$(echo "$json" | field run_s.min)|$(echo "$json" | field compile_s)|$(echo "$json" | field flops)|$(
        echo "$json" | field peak_gflops)|$(peer "$name" torch)|$(peer "$name" onnxruntime)" | tee -a $rows
}
subject encoder "sentence encoder, 1 x 128 tokens" examples/sentence-encoder/minilm.lua --dim B=1 --dim N=128
subject matmul "matrix product, 1024 x 1024 x 1024" examples/matmul.lua
subject attention "attention, 8 heads x 1024 x 64" attention --dim B=1 --dim N=1024
subject attention-causal "the same, causal" attention --param causal=true --dim B=1 --dim N=1024

model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
python3 - "$rows" > build/performance.md <<PYTHON
import math, sys
print("""# Performance

Measured by \`make bench\`: $threads thread(s), f32, least of repeated runs in milliseconds, one process after another.
Numbers of a shared machine: compare within a row.

- Machine: ${model:-unknown}, $(nproc) processors; $(date -u +%Y-%m-%d)
- lappet $("$lappet" --version 2>/dev/null | sed 's/^lappet //' || echo 0.1.0), PyTorch $(version torch), ONNX Runtime $(version onnxruntime)
- GFLOP/s count useful operations: pairs outside a pattern do not count for anybody.
- The encoder of the peers starts behind the embedding table and has no padding mask; ONNX Runtime gets attention as
  plain nodes (product, softmax, product; causal as an added mask), which it does not fuse here.

| | lappet | PyTorch | ONNX Runtime | lappet GFLOP/s | of peak | compile |
|---|---|---|---|---|---|---|""")
def ms(t): return "-" if math.isnan(t) else f"{1e3 * t:.2f}"
for line in open(sys.argv[1]):
    name, title, *numbers = line.strip().split("|")
    ours, compile_s, flops, peak, torch, onnx = map(float, numbers)
    speed = flops / ours / 1e9
    print(f"| {title} | {ms(ours)} | {ms(torch)} | {ms(onnx)} | {speed:.0f} | {100 * speed / peak:.0f} % | {1e3 * compile_s:.0f} ms |")
PYTHON
mv build/performance.md "$out"
cat "$out"
