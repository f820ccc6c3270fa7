#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh - times lappet beside PyTorch and ONNX Runtime and writes the table of docs/performance.md.
#
# THREADS (1) and SECONDS_EACH (3) of a measurement; LAPPET names the command, BENCH_OUT the file written.
# BENCH_PYTHON names a Python that has the peers, else build/bench-venv is made (some GB: PyTorch brings
# libraries for graphics processors). One process after another; of repeated runs the least time counts.
set -eu
cd "$(dirname "$0")/.."
threads=${THREADS:-1}
seconds=${SECONDS_EACH:-3}
python=${BENCH_PYTHON:-build/bench-venv/bin/python}
lappet=${LAPPET:-build/lappet}
out=${BENCH_OUT:-docs/performance.md}
peers="numpy onnx onnxruntime torch"

has_peers() { "$python" -c "import $(echo $peers | tr ' ' ',')" 2>/dev/null; }
if ! has_peers; then
    if [ -n "${BENCH_PYTHON:-}" ]; then
        echo "bench: $python cannot import all of: $peers" >&2
        exit 2
    fi
    scripts/setup.sh bench
    echo "bench: installing $peers into build/bench-venv ..."
    rm -rf build/bench-venv
    python3 -m venv build/bench-venv
    if ! build/bench-venv/bin/pip install -q --disable-pip-version-check $peers || ! has_peers; then
        echo "bench: the peers could not be installed: this needs a network and the package index of pip" >&2
        echo "bench: lappet alone: build/lappet bench attention --dim N=1024 --threads 1" >&2
        exit 2
    fi
fi

field() { python3 -c 'import json, sys; d = json.load(sys.stdin)
for k in sys.argv[1].split("."): d = d[k]
print(d)' "$1"; }
peer() { taskset -c "$cores" "$python" bench/peers.py "$1" "$2" "$threads" "$seconds"; }
version() { "$python" -c "import $1; print($1.__version__)"; }
cores=0-$((threads - 1))
rows=build/bench-rows.txt
: > $rows

subject() {     # subject NAME TITLE MODEL OPTIONS...
    name=$1 title=$2
    shift 2
    json=$(taskset -c "$cores" "$lappet" bench "$@" --threads "$threads" --seconds "$seconds" --json)
    row="$name|$title"
    for key in run_s.min compile_s flops peak_gflops; do
        row="$row|$(echo "$json" | field $key)"
    done
    torch=$(peer "$name" torch)
    onnx=$(peer "$name" onnxruntime)
    echo "$row|$torch|$onnx" | tee -a $rows
}
subject encoder "sentence encoder, 1 x 128 tokens" examples/sentence-encoder/minilm.lua --dim B=1 --dim N=128
subject matmul "matrix product, 1024 x 1024 x 1024" examples/matmul.lua
subject attention "attention, 8 heads x 1024 x 64" attention --dim B=1 --dim N=1024
subject attention-causal "the same, causal" attention --param causal=true --dim B=1 --dim N=1024

model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
python3 - "$rows" > build/performance.md <<PYTHON
import sys
print("""# Performance

Measured by \`make bench\`: $threads thread(s), f32, least of repeated runs in milliseconds, one process
after another. Numbers of a shared machine: compare within a row.

- Machine: ${model:-unknown}, $(nproc) processors; $(date -u +%Y-%m-%d)
- $("$lappet" --version), PyTorch $(version torch), ONNX Runtime $(version onnxruntime)
- GFLOP/s count useful operations: pairs outside a pattern do not count for anybody.
- The encoder of the peers starts behind the embedding table and has no padding mask; ONNX Runtime gets
  attention as plain nodes (product, softmax, product; causal as an added mask), which it does not fuse here.

| | lappet | PyTorch | ONNX Runtime | lappet GFLOP/s | of peak | compile |
|---|---|---|---|---|---|---|""")
for line in open(sys.argv[1]):
    name, title, *numbers = line.strip().split("|")
    ours, compile_s, flops, peak, torch, onnx = map(float, numbers)
    speed = flops / ours / 1e9
    cells = [title] + [f"{1e3 * t:.2f}" for t in (ours, torch, onnx)]
    cells += [f"{speed:.0f}", f"{100 * speed / peak:.0f} %", f"{1e3 * compile_s:.0f} ms"]
    print("| " + " | ".join(cells) + " |")
PYTHON
# What is said of Vulkan devices was not measured here, and stays.
[ ! -f "$out" ] || sed -n '/^## Vulkan/,$p' "$out" | sed '1s/^/\n/' >> build/performance.md
mv build/performance.md "$out"
cat "$out"
