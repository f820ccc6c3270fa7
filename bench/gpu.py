# SPDX-License-Identifier: Apache-2.0
"""gpu.py - attention on one Vulkan device, beside PyTorch where it has CUDA; see gpu.sh.

Software devices are timed by processor time, which busy machines change little; others by the clock. Times of
lappet include the copies of inputs and outputs, those of PyTorch do not."""
import json
import os
import re
import subprocess
import sys
import time

TOKENS = int(os.environ.get("TOKENS", "4096"))
HEADS = int(os.environ.get("HEADS", "8"))
DTYPES = os.environ.get("DTYPES", "f32 f16 bf16").split()
SECONDS = os.environ.get("SECONDS_EACH", "1")
LAPPET = os.environ.get("LAPPET", "build/lappet")
OUT = os.environ.get("BENCH_OUT", "docs/performance.md")
WIDTH, WINDOW, BLOCK, NEAR = 64, 64, 64, 7
SIDE = int(TOKENS ** 0.5)


def attention(queries, keys, **params):
    words = ["attention", "--dim", "B=1", "--dim", f"N={queries}", "--dim", f"M={keys}"]
    for name, value in {"heads": HEADS, "dim_head": WIDTH, **params}.items():
        words += ["--param", f"{name}={value}"]
    return words


def neighbours():
    return ["bench/models/neighbourhood.lua", "--param", f"heads={HEADS}", "--param", f"size=[{NEAR},{NEAR}]",
            "--dim", f"Y={SIDE}", "--dim", f"X={SIDE}"]


SUBJECTS = {
    "dense": attention(TOKENS, TOKENS),
    "causal": attention(TOKENS, TOKENS, causal="true"),
    f"window of {WINDOW}": attention(TOKENS, TOKENS, window=WINDOW),
    f"{NEAR} x {NEAR} of {SIDE} x {SIDE}": neighbours(),
    f"blocks of {BLOCK}": attention(TOKENS, TOKENS, block=BLOCK),
    f"one query, {4 * TOKENS} keys": attention(1, 4 * TOKENS),
}


def lappet(options, dtype, device):
    command = [LAPPET, "bench", *options, "--target", "vulkan", "--dtype", dtype, "--seconds", SECONDS]
    command += ["--json", *(["--device", device] if device else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"gpu: {' '.join(command)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def torch_with_cuda():
    try:
        import torch
    except ImportError:
        return None
    return torch if torch.cuda.is_available() else None


def mask_of(subject):
    """(query, key) -> seen, for FlexAttention; None: all."""
    if subject == "causal":
        return lambda b, h, i, j: i >= j
    if subject.startswith("window"):
        return lambda b, h, i, j: (i - j).abs() <= WINDOW
    if subject.startswith("blocks"):
        return lambda b, h, i, j: i // BLOCK == j // BLOCK
    if " x " in subject:
        def near(b, h, i, j):
            def axis(p, q):
                first = (p - NEAR // 2).clamp(0, SIDE - NEAR)
                return (q >= first) & (q < first + NEAR)
            return axis(i // SIDE, j // SIDE) & axis(i % SIDE, j % SIDE)
        return near
    return None


def best(torch, run):
    """Least milliseconds of some runs, after two that warm up."""
    times = []
    for _ in range(12):
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times[2:])


def peers(torch, subject, dims, dtype):
    """Milliseconds of SDPA and of FlexAttention; None where it has no such form."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    kind = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[dtype]
    is_near = " x " in subject
    queries, keys = (SIDE * SIDE,) * 2 if is_near else (dims["N"], dims["M"])
    width = dims["D"] if is_near else WIDTH
    q = torch.randn(1, HEADS, queries, width, device="cuda", dtype=kind)
    k, v = (torch.randn(1, HEADS, keys, width, device="cuda", dtype=kind) for _ in range(2))
    mask = mask_of(subject)
    sdpa = torch.nn.functional.scaled_dot_product_attention
    plain = None
    if mask is None or subject == "causal":
        plain = best(torch, lambda: sdpa(q, k, v, is_causal=subject == "causal"))
    blocks = create_block_mask(mask, None, None, queries, keys, device="cuda") if mask else None
    compiled = torch.compile(flex_attention)
    return plain, best(torch, lambda: compiled(q, k, v, block_mask=blocks))


def table(device):
    torch = torch_with_cuda()
    rows, name, is_software = [], None, False
    for dtype in DTYPES:
        for subject, options in SUBJECTS.items():
            d = lappet(options, dtype, device)
            name = d["device"]
            is_software = "llvmpipe" in name or "SwiftShader" in name
            ms = 1e3 * (d["processor_s"] if is_software else d["run_s"]["min"])
            row = [subject, dtype, f"{ms:.2f}", f"{d['flops'] / ms / 1e6:.1f}", f"{d['pattern_density']:.3f}"]
            if torch:
                row += ["" if t is None else f"{t:.2f}" for t in peers(torch, subject, d["dims"], dtype)]
            rows.append(row)
            print(" | ".join(row), flush=True)
    unit = "processor ms" if is_software else "ms"
    head = [f"{HEADS} heads x {TOKENS} x {WIDTH}", "type", unit, "GFLOP/s", "density"]
    head += ["SDPA ms", "FlexAttention ms"] if torch else []
    return name, "\n".join("| " + " | ".join(r) + " |" for r in [head, ["---"] * len(head), *rows])


def main():
    name, text = table(sys.argv[1] if len(sys.argv) > 1 else None)
    block = f"<!-- device {name} -->\n{name}, by `bench/gpu.sh`:\n\n{text}\n<!-- end device -->\n"
    with open(OUT, encoding="utf-8") as f:
        page = f.read()
    own = re.compile(re.escape(f"<!-- device {name} -->") + r".*?<!-- end device -->\n", re.S)
    if own.search(page):
        page = own.sub(lambda _: block, page)
    else:
        section = page.index("## Vulkan devices")
        end = page.find("\n## ", section)
        end = len(page) if end < 0 else end + 1
        page = page[:end].rstrip("\n") + "\n\n" + block + ("\n" + page[end:] if end < len(page) else "")
    with open(OUT + ".new", "w", encoding="utf-8") as f:
        f.write(page)
    os.replace(OUT + ".new", OUT)


main()
