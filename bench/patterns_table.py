# SPDX-License-Identifier: Apache-2.0
"""patterns_table.py [SLUG...] - times mechanisms in lappet and in plain PyTorch, turn by turn in processes of their
own, and writes their table in docs/patterns.md. Called by patterns.sh, which says which variables there are.

lappet keeps what it was timed on as a case; PyTorch must give its outputs before it is timed. What is measured is
kept in build/patterns.jsonl, so that naming one mechanism renews one row."""
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import time

THREADS = int(os.environ.get("THREADS", "1"))
SECONDS = os.environ.get("SECONDS_EACH", "1")
LAPPET = os.environ.get("LAPPET", "build/lappet")
OUT, KEPT, CASE = "docs/patterns.md", "build/patterns.jsonl", "build/pattern.safetensors"
BEGIN, END = "<!-- written by bench/patterns.sh: begin -->", "<!-- end -->"
ROUNDS = 3
SLUGS = sorted(name[:-3] for name in os.listdir("bench/patterns") if name.endswith(".py") and name != "plain.py")


def command(words):
    pinned = ["taskset", "-c", f"0-{THREADS - 1}"] if THREADS < len(os.sched_getaffinity(0)) else []
    done = subprocess.run(pinned + words, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(words)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def kernels(slug):
    lines = command([LAPPET, "dump", slug, "--stage", "fused", "--cpu", "x86-64-v3"]).splitlines()
    return len({line.split()[0] for line in lines})


def measure(slug):
    ours, torch = [], []
    words = [LAPPET, "bench", slug, "--threads", str(THREADS), "--seconds", SECONDS, "--json"]
    for turn in range(ROUNDS):
        ours.append(json.loads(command(words + (["--case", CASE] if turn == 0 else []))))
        torch.append(json.loads(command([sys.executable, "bench/patterns_peer.py", CASE, str(THREADS), SECONDS])))
    os.remove(CASE)
    best = min(ours, key=lambda o: o["run_s"]["min"])
    return {"slug": slug, "at": time.time(), "threads": THREADS, "kernels": kernels(slug), "flops": best["flops"],
            "seconds": best["run_s"]["min"], "peak": max(o["peak_gflops"] for o in ours), "dims": best["dims"],
            "torch": min(t["least"] for t in torch), "version": torch[0]["version"]}


def ratio(row):
    return row["torch"] / row["seconds"]


def table(rows):
    model = re.search(r"^model name\s*:\s*(.*)$", open("/proc/cpuinfo").read(), re.M)
    newest = datetime.date.fromtimestamp(max(row["at"] for row in rows))
    lines = [
        f"- Machine: {model.group(1) if model else 'unknown'}, {os.cpu_count()} processors; {newest}; "
        f"{THREADS} thread(s), f32, least of repeated runs, both sides turn by turn.",
        f"- {command([LAPPET, '--version']).strip()}; PyTorch {rows[0]['version']}. A shared machine: compare "
        "within a row.",
        f"- PyTorch / lappet: {statistics.median(map(ratio, rows)):.2f} in the median, "
        f"from {min(map(ratio, rows)):.2f} to {max(map(ratio, rows)):.2f}.",
        "",
        "| mechanism | kernels | useful Gflop | of peak | lappet, ms | PyTorch, ms | PyTorch / lappet |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        speed = row["flops"] / row["seconds"] / 1e9
        cells = [row["slug"], str(row["kernels"]), f"{row['flops'] / 1e9:.3f}", f"{speed / row['peak']:.2f}",
                 f"{1e3 * row['seconds']:.2f}", f"{1e3 * row['torch']:.2f}", f"{ratio(row):.2f} x"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def kept():
    try:
        return {row["slug"]: row for row in map(json.loads, open(KEPT)) if row["threads"] == THREADS}
    except FileNotFoundError:
        return {}


def write(rows):
    before, rest = open(OUT).read().split(BEGIN, 1)
    body = "\n".join([BEGIN, *table([rows[slug] for slug in SLUGS if slug in rows]), END])
    with open(OUT + ".new", "w") as file:
        file.write(before + body + rest.split(END, 1)[1])
    os.replace(OUT + ".new", OUT)


def main():
    wrong = [slug for slug in sys.argv[1:] if slug not in SLUGS]
    if wrong:
        raise SystemExit(f"bench: no plain version of {', '.join(wrong)}\nhint: there are {' '.join(SLUGS)}")
    rows = kept()
    for slug in sys.argv[1:] or SLUGS:
        row = rows[slug] = measure(slug)
        with open(KEPT, "a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{slug:20} {1e3 * row['seconds']:9.2f} ms, PyTorch {1e3 * row['torch']:9.2f} ms: {ratio(row):.2f} x",
              flush=True)
    write(rows)


main()
