"""The comparable form of a text as limen-code/1 has it, step by step and one text at a time.

Registries and indexes on disk name records by digests of this. Whatever is faster has to give the same bytes.
"""

import html
import re
import unicodedata

TAG = re.compile(r"</?[a-z!][^<>\n\x1e]{0,300}>")
LINK = re.compile(r"\]\([^()\s\x1e]{0,2000}\)")


def folded(text):
    return unicodedata.normalize("NFKC", text.casefold())


STEPS = {
    "entities": html.unescape,
    "entities written twice": html.unescape,
    "NFKC": lambda text: unicodedata.normalize("NFKC", text),
    "case folding": folded,
    "tags": lambda text: TAG.sub(" ", text),
    "link targets": lambda text: LINK.sub(" ", text),
    "what is no word": lambda text: re.sub(r"[^\w\x00-\x7f]+", " ", text),
    "what is no word in ASCII": lambda text: "".join(
        c if c.isalnum() or not c.isascii() else " " for c in text.encode("utf-8", "replace").decode()
    ),
    "one space": lambda text: " ".join(text.split()),
}


def plainly(text, *, without=""):
    """`without`: a step to leave out, which makes another form of it."""
    for name, step in STEPS.items():
        if name != without:
            text = step(text)
    return text.encode("utf-8", "replace")
