# SPDX-License-Identifier: Apache-2.0
"""run.py [NAME...] - measures the subjects (all, or those named) in lappet and its peers, one process after another,
and writes the table of docs/performance.md. Called by run.sh, which says which variables there are.

What is measured is kept in build/bench.jsonl, so that naming one subject renews one row."""
import datetime
import json
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from subjects import ALL, BY_NAME, SUBJECTS

THREADS = int(os.environ.get("THREADS", "1"))
SECONDS = os.environ.get("SECONDS_EACH", "2")
LAPPET = os.environ.get("LAPPET", "build/lappet")
OUT = os.environ.get("BENCH_OUT", "docs/performance.md")
KEPT = "build/bench.jsonl"
BEGIN, END = "<!-- written by make bench: begin -->", "<!-- end -->"
TITLES = {"torch": "PyTorch", "flex": "FlexAttention", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def command(words, threads=THREADS, limit=300):
    pinned = ["taskset", "-c", f"0-{threads - 1}"] if threads < os.cpu_count() else []
    done = subprocess.run(pinned + words, capture_output=True, text=True, timeout=limit)
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(words)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def lappet(subject, threads=THREADS):
    words = [LAPPET, "bench", *subject.options(), "--threads", str(threads), "--seconds", SECONDS, "--json"]
    return json.loads(command(words, threads))


def measure(subject):
    row = {"name": subject.name, "at": time.time(), "threads": THREADS, "ours": lappet(subject), "peers": {}}
    if subject.counts == "bandwidth":
        devices = json.loads(command([LAPPET, "devices", "--measure", "--threads", str(THREADS), "--json"]))
        row["bandwidth"] = devices[0]["bandwidth_gbytes"]
    if THREADS == 1 and os.cpu_count() > 1:
        row["two"] = lappet(subject, 2)["run_s"]["min"]
    for peer in subject.peers:
        words = [sys.executable, "bench/peer.py", peer, subject.name, str(THREADS), SECONDS]
        row["peers"][peer] = json.loads(command(words))
    return row


def ours(row):
    return row["ours"]["run_s"]["min"]


def share(row, rows):
    """How much of what bounds the subject is reached, as text."""
    subject, mine = BY_NAME[row["name"]], row["ours"]
    if subject.counts == "bandwidth":
        return f"{subject.moved / ours(row) / 1e9 / row['bandwidth']:.2f} of bandwidth"
    if subject.counts == "dense" and subject.dense in rows:
        whole = rows[subject.dense]
        scale = mine["flops"] / whole["ours"]["flops"] * subject.live
        return f"{ours(row) / ours(whole) / scale:.2f} x density x dense"
    return f"{mine['flops'] / ours(row) / 1e9 / mine['peak_gflops']:.2f} of peak"


def time_text(seconds):
    return f"{1e3 * seconds:.2f}" if seconds < 1.0 else f"{1e3 * seconds:.0f}"


def table(rows):
    lines = ["| | lappet, ms | reaches | " + " | ".join(TITLES[p] for p in ALL) +
             " | best peer / lappet | two threads | compile, ms | workspace, MiB |",
             "|---|---:|---|" + "---:|" * (len(ALL) + 4)]
    for subject in SUBJECTS:
        row = rows.get(subject.name)
        if row is None:
            continue
        peers = {p: v["least"] for p, v in row["peers"].items()}
        cells = [subject.title, time_text(ours(row)), share(row, rows)]
        cells += [time_text(peers[p]) if p in peers else "" for p in ALL]
        cells += [f"{min(peers.values()) / ours(row):.2f} x" if peers else "",
                  f"{ours(row) / row['two']:.2f} x" if row.get("two") else "",
                  f"{1e3 * row['ours']['compile_s']:.0f}", f"{row['ours']['workspace_bytes'] / 2**20:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def heading(rows):
    newest = max(row["at"] for row in rows.values())
    model = re.search(r"^model name\s*:\s*(.*)$", open("/proc/cpuinfo").read(), re.M)
    versions = {p: v["version"] for row in rows.values() for p, v in row["peers"].items()}
    peaks = [row["ours"]["peak_gflops"] for row in rows.values()]
    return [
        f"- Machine: {model.group(1) if model else 'unknown'}, {os.cpu_count()} processors; "
        f"{datetime.date.fromtimestamp(newest)}; {THREADS} thread(s), least of repeated runs.",
        f"- Peak measured beside each row: {min(peaks):.0f} to {max(peaks):.0f} GFLOP/s."
        + "".join(f" Bandwidth: {row['bandwidth']:.1f} GB/s." for row in list(
            r for r in rows.values() if "bandwidth" in r)[-1:]),
        f"- {command([LAPPET, '--version']).strip()}; "
        + ", ".join(f"{TITLES[p]} {versions[p]}" for p in ALL if p in versions) + ".",
        "",
    ]


def write(rows):
    text = open(OUT).read()
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    body = "\n".join([BEGIN, *heading(rows), *table(rows), END])
    with open(OUT + ".new", "w") as file:
        file.write(before + body + after)
    os.replace(OUT + ".new", OUT)


def kept():
    try:
        return {row["name"]: row for row in map(json.loads, open(KEPT)) if row["threads"] == THREADS}
    except FileNotFoundError:
        return {}


def main():
    unknown = [name for name in sys.argv[1:] if name not in BY_NAME]
    if unknown:
        raise SystemExit(f"bench: no subject {', '.join(unknown)}\nhint: there are {' '.join(BY_NAME)}")
    rows = kept()
    for i, name in enumerate(sys.argv[1:] or list(BY_NAME)):
        print(f"bench: {i + 1} of {len(sys.argv[1:]) or len(BY_NAME)}: {BY_NAME[name].title}", flush=True)
        rows[name] = measure(BY_NAME[name])
        with open(KEPT, "a") as file:
            file.write(json.dumps(rows[name]) + "\n")
        print(f"       {share(rows[name], rows)}; " + ", ".join(
            f"{TITLES[p]} {v['least'] / ours(rows[name]):.2f} x" for p, v in rows[name]["peers"].items()), flush=True)
    write(rows)


main()
