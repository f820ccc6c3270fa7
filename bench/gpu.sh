#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# gpu.sh [DEVICE] - times attention on a Vulkan device and writes its table into docs/performance.md.
#
# DEVICE is a number or a part of a name, as in `lappet devices`. Where the Python has PyTorch with CUDA, its
# SDPA and FlexAttention run beside it. TOKENS (4096), HEADS (8), DTYPES (f32 f16 bf16), SECONDS_EACH (1) of a
# measurement; LAPPET names the command, BENCH_PYTHON the Python, BENCH_OUT the file written.
set -eu
cd "$(dirname "$0")/.."
exec "${BENCH_PYTHON:-python3}" bench/gpu.py "$@"
