"""Guidelines with authored alternatives, in invented words."""

import random

from orchid import said


def block(one, two, name=""):
    return f"<!-- limen:either{' ' + name if name else ''} -->\n{one}\n<!-- limen:or -->\n{two}\n<!-- limen:end -->\n"


def inline(one, two):
    return f"<!-- limen:either -->{one}<!-- limen:or -->{two}<!-- limen:end -->"


def guideline(places, seed=1, words=(8, 14)):
    """A guideline of so many places: blocks, list items, sentences within paragraphs; and common text between them."""
    rng = random.Random(seed)
    out = ["# How to rate\n\nRead this once, whole. It is about answers and nothing else.\n\n"]
    for n in range(places):
        one, two = (said(rng, rng.randint(*words)).capitalize() + "." for _ in range(2))
        match n % 4:
            case 0:
                out.append(block(one, two) + "\n")
            case 1:
                out.append(f"- {said(rng, 9)}\n" + block(f"- {one}", f"- **{two}**") + f"- {said(rng, 5)}\n\n")
            case 2:
                out.append(f"{said(rng, 6)}. {inline(one, two)} {said(rng, 8)}.\n\n")
            case 3:
                out.append(f"{said(rng, 6)}. {inline(one, two)}\n{said(rng, 8)}.\n\n")
    return "".join(out).encode()
