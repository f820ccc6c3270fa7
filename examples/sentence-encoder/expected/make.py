# SPDX-License-Identifier: Apache-2.0
"""Makes embeddings.safetensors of sentences.txt: what the authors' own code says.

Run once, by hand, with torch and transformers (2.15.0 and 5.23.0 when this was made):
    python make.py FOLDER_OF_THE_MODEL
Never part of a build or a test."""
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertModel

here = pathlib.Path(__file__).parent
sentences = (here / "sentences.txt").read_text(encoding="utf-8").splitlines()
tokens = AutoTokenizer.from_pretrained(sys.argv[1])(
    sentences, padding=True, truncation=True, max_length=256, return_tensors="pt")
model = BertModel.from_pretrained(sys.argv[1]).eval()
with torch.no_grad():
    hidden = model(**tokens).last_hidden_state
weight = tokens["attention_mask"][..., None].float()
mean = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
save_file({
    "embedding": torch.nn.functional.normalize(mean).contiguous(),
    "input_ids": tokens["input_ids"].contiguous(),
    "attention_mask": tokens["attention_mask"].contiguous(),
}, here / "embeddings.safetensors")
