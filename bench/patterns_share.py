# SPDX-License-Identifier: Apache-2.0
"""patterns_share.py [THREADS] - how the time of sparse mechanisms falls with the share that they keep, and that of
lightning attention grows with the length. LAPPET names the command. No peer is needed.

`attention`: kernels whose axes or name say attend, and what packs for them; `all`: everything."""
import json
import os
import subprocess
import sys

THREADS = sys.argv[1] if len(sys.argv) > 1 else "1"
LAPPET = os.environ.get("LAPPET", "build/lappet")
LAYERS = 12
# slug, what is kept, options of the whole and of half the share
HALVES = [
    ("biformer", "regions", ["topk=8"], ["topk=4"]),
    ("sparsifiner", "keys of a row", [f"attn_keep_rates={[0.5] * LAYERS}"], [f"attn_keep_rates={[0.25] * LAYERS}"]),
    ("seer_attention", "blocks", ["sparsity_method=nz_ratio", "nz_ratio=0.6"],
     ["sparsity_method=nz_ratio", "nz_ratio=0.3"]),
    ("s2_attention", "blocks", ["vert_stride=8", "local_blocks=8"], ["vert_stride=16", "local_blocks=4"]),
    ("pyramid_drop", "visual tokens", ["ratio_list=[1.0,1.0]"], ["ratio_list=[0.5,0.5]"]),
    ("zipvl", "tokens", ["tau=0.95"], ["tau=0.7"]),
]


def bench(slug, params=(), dims=()):
    words = [LAPPET, "bench", slug, "--threads", THREADS, "--seconds", "0.5", "--json", "--kernels"]
    for p in params:
        words += ["--param", p]
    for d in dims:
        words += ["--dim", d]
    return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def attention(result):
    return sum(k["seconds"] for k in result["kernels"] if k["name"].endswith("_attend"))


def main():
    print(f"{'mechanism':16} {'halved':14} {'attention, ms':>20} {'ratio':>6} {'all, ms':>20} {'ratio':>6}")
    for slug, what, whole, half in HALVES:
        a, b = bench(slug, whole), bench(slug, half)
        times = [1e3 * attention(a), 1e3 * attention(b), 1e3 * a["run_s"]["min"], 1e3 * b["run_s"]["min"]]
        print(f"{slug:16} {what:14} {times[0]:9.2f} {times[1]:10.2f} {times[1] / times[0]:6.2f} "
              f"{times[2]:9.2f} {times[3]:10.2f} {times[3] / times[2]:6.2f}", flush=True)
    for n in (4096, 8192, 16384, 32768, 65536):
        r = bench("lightning_attention", dims=[f"N={n}"])
        print(f"lightning_attention, N = {n:6}: {1e9 * r['run_s']['min'] / n:8.1f} ns a token, "
              f"workspace {r['workspace_bytes']} bytes", flush=True)


main()
