"""Losses of a Hugging Face causal language model on disk, text by text, in nats. Needs the extra `[model]`: torch, transformers.

It also runs by itself where limen's other packages are not installed, beside a model on a machine of its own:
`python -m limen.models.causal QUESTIONS MODEL ANSWERS`. Nothing is fetched, no code of the model's is run, and weights are
read from safetensors only: a suspect's pickle could run anything.

A text's loss is the sum over its tokens but the first of -ln P(token | those before), in float32, cut at so many tokens;
what it is cut at is part of the answers' head. A text of one token has no loss: it is left out.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from limen.core.errors import Invalid, LimenError
from limen.formats.modelanswers import Answers, Loss, read_questions, write_answers
from limen.models.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LONGEST: Final = 512  # tokens
AT_ONCE: Final = 2048  # tokens in a batch
NEEDS: Final = "a model on disk needs torch and transformers: pip install 'limen[model]', or answer the questions elsewhere"


def answers_of(
    model: Path, questions: Mapping[str, str], *, longest: int = LONGEST, progress: Callable[[int, int], None] | None = None
) -> Answers:
    """Every question's loss under the model in a directory. Invalid if it can't be loaded as one."""
    digest = digest_of(model)
    try:
        losses = dict(_losses(model, questions, longest, progress))
    except ImportError as e:
        raise Invalid("model", NEEDS) from e
    return Answers(model=digest, losses=losses, about={"longest_tokens": longest})


def _losses(
    model: Path, questions: Mapping[str, str], longest: int, progress: Callable[[int, int], None] | None
) -> Iterator[tuple[str, Loss]]:
    os.environ["HF_HUB_OFFLINE"] = "1"  # before the import, which reads it
    import torch  # noqa: PLC0415  an extra, and slow to import
    import transformers  # noqa: PLC0415

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(model, local_files_only=True, trust_remote_code=False)
        network = transformers.AutoModelForCausalLM.from_pretrained(
            model, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError, KeyError) as e:
        raise Invalid("model", f"{model} can't be loaded as a causal language model ({_first_line(e)})") from e
    network.eval()
    rows = sorted(((name, tokenizer(text)["input_ids"][:longest]) for name, text in questions.items()), key=lambda r: len(r[1]))
    done = 0
    for batch in _batches([row for row in rows if len(row[1]) > 1]):
        width = max(len(ids) for _, ids in batch)
        ids = torch.tensor([ids + [0] * (width - len(ids)) for _, ids in batch])
        mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for _, ids in batch])
        with torch.no_grad():
            # Padding stands behind the text, where no token of it looks.
            logits = network(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
        each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        sums = (each * mask[:, 1:]).sum(dim=1).tolist()
        for (name, own), total in zip(batch, sums, strict=True):
            if math.isfinite(total):
                yield name, Loss(total, len(own) - 1)
        done += len(batch)
        if progress is not None:
            progress(done, len(rows))


def _batches(rows: list[tuple[str, list[int]]]) -> Iterator[list[tuple[str, list[int]]]]:
    """Rows of about equal length together."""
    batch: list[tuple[str, list[int]]] = []
    for row in rows:
        if batch and (len(batch) + 1) * len(row[1]) > AT_ONCE:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def main(argv: list[str]) -> int:
    """Answer a file of questions; the exit code."""
    if len(argv) != 3:  # noqa: PLR2004  as its usage says
        sys.stderr.write("usage: python -m limen.models.causal QUESTIONS MODEL ANSWERS\n")
        return 2
    questions, model, out = (Path(word) for word in argv)
    try:
        head, asked = read_questions(questions.read_bytes())
        answers = answers_of(model, asked, progress=_told)
        out.write_bytes(write_answers(answers, test=int(head["test"])))
    except (LimenError, OSError) as e:
        sys.stderr.write(f"limen: error: {e}\n")
        return 2
    return 0


def _told(done: int, total: int) -> None:
    sys.stderr.write(f"limen: {done} of {total} texts\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
