#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh [NAME...] - times lappet beside its peers and writes the table of docs/performance.md.
#
# THREADS (1) and SECONDS_EACH (2) of a measurement; LAPPET names the command, BENCH_OUT the file written.
# BENCH_PYTHON names a Python that has the peers, else build/bench-venv is made (some GB: PyTorch brings
# libraries for graphics processors). NAME: rows of subjects.py to measure anew; all when none is given.
set -eu
cd "$(dirname "$0")/.."
python=${BENCH_PYTHON:-build/bench-venv/bin/python}
peers="numpy onnx onnxruntime openvino torch"

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
exec "$python" bench/run.py "$@"
