# SPDX-License-Identifier: Apache-2.0
"""subjects.py - what `make bench` measures: one row per work, for lappet and for its peers alike.

A row has the model and options of `lappet bench`; `work`, what a peer is to do; the peers that can do it at all;
and what counts: `peak` (useful operations against the multiply-add peak), `bandwidth` (bytes that must move
against the measured copy rate), or `dense` (time against density x time of the dense row)."""
from dataclasses import dataclass, field

TORCH, FLEX, ONNX, OPENVINO = "torch", "flex", "onnxruntime", "openvino"
ALL = (TORCH, FLEX, ONNX, OPENVINO)
PLAIN = (TORCH, ONNX, OPENVINO)
GRID = (64, 64)


@dataclass(frozen=True)
class Work:
    """What a peer computes. Attention unless `op` says otherwise."""
    op: str = "attention"
    batch: int = 1
    heads: int = 4
    kv_heads: int = 0            # 0: as heads
    queries: int = 4096
    keys: int = 0                # 0: as queries
    width: int = 64
    dtype: str = "f32"
    pattern: str = "dense"       # dense causal window near blocks listed strided
    edit: str = ""               # alibi softcap table
    grid: tuple = ()             # near, table: tokens along each axis
    size: int = 0                # window: largest distance; near: neighbours; strided: the stride; listed: keys
    dilation: int = 1
    shape: tuple = ()            # of other operations


@dataclass(frozen=True)
class Subject:
    name: str
    title: str
    model: str
    params: dict = field(default_factory=dict)
    dims: dict = field(default_factory=dict)
    work: Work = Work()
    peers: tuple = ()
    counts: str = "peak"
    moved: int = 0               # bandwidth: bytes
    dense: str = ""              # dense: the row to compare with
    live: float = 1.0            # part of the pairs that data leave, where the pattern is data

    def options(self):
        words = [self.model]
        for name, value in self.params.items():
            words += ["--param", f"{name}={value}"]
        for name, value in self.dims.items():
            words += ["--dim", f"{name}={value}"]
        return words + (["--dtype", self.work.dtype] if self.work.dtype in ("bf16", "f16") else [])


def attention(name, title, model="attention", params=None, dims=None, peers=ALL, counts="peak", dense="", moved=0,
              live=1.0, **work):
    w = Work(**work)
    if model == "attention":
        params = {"heads": w.heads, "dim_head": w.width, **(params or {})}
        dims = {"B": w.batch, "N": w.queries, **(dims or {})}
    return Subject(name, title, model, params or {}, dims or {}, w, peers, counts, moved, dense, live)


def near(name, title, grid, size, dilation=1):
    axes = "ZYX"[-len(grid):]
    return attention(name, title, "bench/models/neighbourhood.lua",
                     {"size": str([size] * len(grid)).replace(" ", ""), "dilation": dilation, "heads": 4},
                     dict(zip(axes, grid)), (FLEX,), heads=4, width=32, pattern="near", grid=grid, size=size,
                     dilation=dilation, queries=__import__("math").prod(grid))


def decode(name, title, dtype, key_bytes):
    peers = (TORCH, FLEX) if dtype != "i8" else ()
    return attention(name, title, "bench/models/decode.lua", {"int8": "true"} if dtype == "i8" else {}, {}, peers,
                     "bandwidth", moved=2 * 8 * 16384 * key_bytes, heads=32, kv_heads=8, queries=1, keys=16384,
                     width=128, dtype=dtype)


def plain(name, title, model, op, shape, dims=None, counts="peak", moved=0, params=None):
    return Subject(name, title, f"{model}", params or {}, dims or {}, Work(op=op, shape=shape), PLAIN, counts, moved)


SUBJECTS = [
    attention("dense-64", "dense attention, 4 heads x 4096, d = 64"),
    attention("dense-128", "the same, d = 128", width=128),
    attention("dense-bf16-64", "the same in bf16, d = 64", dtype="bf16", peers=(TORCH, FLEX, OPENVINO)),
    attention("dense-bf16-128", "the same in bf16, d = 128", dtype="bf16", width=128, peers=(TORCH, FLEX, OPENVINO)),
    attention("causal-64", "causal, 4 heads x 4096, d = 64", params={"causal": "true"}, pattern="causal",
              counts="dense", dense="dense-64"),
    attention("long", "dense, 1 head x 65,536, d = 64", heads=1, queries=65536, peers=()),
    attention("windows", "64 windows of 49, 8 heads, d = 32", "bench/models/windows.lua", peers=PLAIN, batch=64,
              heads=8, queries=49, width=32),
    attention("window", "window of 256, 4 heads x 4096, d = 64", params={"window": 128}, pattern="window", size=128,
              peers=(TORCH, FLEX), counts="dense", dense="dense-64"),
    attention("blocks-list", "64 x 64 blocks by a list, 6 of 64 live", "bench/models/block_sparse.lua",
              pattern="blocks", size=6, peers=(FLEX,), counts="dense", dense="dense-64"),
    attention("blocks-mask", "64 x 64 blocks by a mask tensor, 10 % live", "bench/models/masked_blocks.lua", peers=(),
              counts="dense", dense="dense-64", live=0.1),
    attention("alibi", "ALiBi, 4 heads x 4096, d = 64", "bench/models/score_edits.lua", {"edit": "alibi"}, edit="alibi",
              peers=(FLEX,)),
    attention("soft-cap", "soft-cap, 4 heads x 4096, d = 64", "bench/models/score_edits.lua", {"edit": "soft_cap"},
              edit="softcap", peers=(FLEX,)),
    attention("table", "table of relative places, 4 heads x 64 x 64, d = 64", "bench/models/score_edits.lua",
              {"edit": "table"}, edit="table", grid=GRID, peers=(FLEX,)),
    attention("listed", "64 keys of 4096 per row, indices given", "bench/models/listed.lua", pattern="listed",
              size=64, peers=(FLEX,)),
    near("near-2d", "neighbourhood 7 x 7 of 64 x 64, d = 32", (64, 64), 7),
    near("near-2d-dilated", "the same, dilation 2", (64, 64), 7, 2),
    near("near-1d", "neighbourhood 33 of 16,384, d = 32", (16384,), 33),
    near("near-3d", "neighbourhood 5 x 5 x 5 of 16 x 16 x 16, d = 32", (16, 16, 16), 5),
    decode("decode-f32", "1 query, 16,384 keys, 32 heads on 8, d = 128", "f32", 512),
    decode("decode-bf16", "the same in bf16", "bf16", 256),
    decode("decode-int8", "the same with int8 keys and values", "i8", 132),
    plain("matmul", "matrix product, 1024 x 1024 x 1024", "examples/matmul.lua", "matmul", (1024, 1024, 1024)),
    plain("matmul-flat", "matrix product, 128 x 384 x 1536", "examples/matmul.lua", "matmul", (128, 384, 1536),
          {"M": 128, "N": 384, "K": 1536}),
    plain("conv3x3", "convolution 3 x 3, 64 to 64 channels, 56 x 56", "bench/models/conv3x3.lua", "conv",
          (64, 64, 3, 56, 1)),
    plain("depthwise", "depthwise convolution 7 x 7, 96 channels, 56 x 56", "bench/models/depthwise7x7.lua", "conv",
          (96, 96, 7, 56, 96)),
    plain("layernorm", "layer norm, 131,072 x 768", "bench/models/layernorm.lua", "layernorm", (131072, 768),
          counts="bandwidth", moved=2 * 4 * 131072 * 768),
    plain("softmax", "softmax, 98,304 x 1024", "bench/models/softmax.lua", "softmax", (98304, 1024),
          counts="bandwidth", moved=2 * 4 * 98304 * 1024),
    plain("chain", "silu(a x + b) + x, 131,072 x 768", "bench/models/chain.lua", "chain", (131072, 768),
          counts="bandwidth", moved=2 * 4 * 131072 * 768),
    plain("encoder", "sentence encoder, 1 x 128 tokens", "examples/sentence-encoder/minilm.lua", "encoder", (128,),
          {"B": 1, "N": 128}),
]
BY_NAME = {s.name: s for s in SUBJECTS}
