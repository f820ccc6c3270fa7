#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# patterns.sh [SLUG...] - times mechanisms beside the same in plain PyTorch and writes their table in
# docs/patterns.md.
#
# Of bench/patterns/: all, or those named, whose rows alone are renewed. THREADS (1) and SECONDS_EACH (1) of a
# measurement; LAPPET names the command, BENCH_PYTHON a Python that has PyTorch.
set -eu
cd "$(dirname "$0")/.."
python=${BENCH_PYTHON:-build/bench-venv/bin/python}
"$python" -c 'import torch' 2>/dev/null || {
    echo "bench: $python cannot import torch" >&2
    echo "hint: \`make bench\` makes build/bench-venv with it; BENCH_PYTHON names another" >&2
    exit 2
}
exec "$python" bench/patterns_table.py "$@"
