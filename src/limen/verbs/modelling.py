"""Was a model trained on a served copy: register a test, give what is to be asked, score the answers."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import NotFound
from limen.formats.modelanswers import read_answers
from limen.response import model_test
from limen.response.cases import named
from limen.response.model_tests import ASKED, RESULT

if TYPE_CHECKING:
    from limen.response.model_tests import ModelTest
    from limen.server import Gateway
    from limen.verbs import Verb


async def register(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Fix suspect, reference, slots and method in the log, before anything is measured."""
    order = model_test.Order(
        asset=args["asset"],
        case=named(args["case"]),
        suspect=args["suspect"],
        reference=args["reference"],
        measure=args["measure"],
        authority=args["authority"],
        version=args.get("version"),
        slots=args.get("slots") or model_test.SLOTS,
        fields=tuple(args.get("fields") or ()),
        cuts=args.get("cuts") or model_test.CUTS,
        top=args.get("top") or model_test.TOP,
        models=args.get("models"),
        alpha=args.get("alpha"),
    )
    return _row(await model_test.register(gateway.custody, gateway.model_tests, order, by=by, random=os.urandom))


async def questions(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """What a test's models are to be asked. That it leaves is an entry first."""
    test = await asyncio.to_thread(gateway.model_tests.test, args["test"])
    asked = await model_test.asked(gateway.custody, test, of=args["of"], by=by)
    return {"test": test.number, "questions": asked, **{side: test.fields[side] for side in model_test.SIDES}}


async def conclude(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Score a test's answers, each given as the text of an answers file."""
    gateway.custody.windows.close_all()  # so that their outcomes are in what it reads
    answers = {side: read_answers(args[side].encode())[1] for side in model_test.SIDES}
    return await model_test.conclude(gateway.custody, gateway.model_tests, args["test"], answers, by=by)


async def tests(gateway: Gateway, args: dict[str, Any], by: str) -> list[dict[str, Any]]:
    """Every registered test, with what came of it."""
    del args, by
    return [_row(test) for test in await asyncio.to_thread(gateway.model_tests.all)]


async def show(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """A test's report again; nothing is scored."""
    del by
    return await asyncio.to_thread(_shown, gateway, args["test"])


def _shown(gateway: Gateway, number: int) -> dict[str, Any]:
    test = gateway.model_tests.test(number)
    result = test.last(RESULT)
    if result is None:
        raise NotFound(f"a result of model test {number}: it is registered, and nothing was scored yet")
    return {**model_test.shown(gateway.custody, test, result.fields["document"]), "again": False}


def _row(test: ModelTest) -> dict[str, Any]:
    result = test.last(RESULT)
    kept = ("case", "asset", "version", "slots", "suspect", "reference", "measure", "method", "models", "alpha", "top")
    asked = [step.fields["of"] for step in test.steps if step.kind == ASKED]
    said = {"verdict": result.fields["verdict"], "copies": len(result.fields["copies"])} if result else {}
    return {
        "test": test.number,
        **{name: test.fields[name] for name in kept if name in test.fields},
        "registered_at_us": test.registered.at_us,
        "asked": sorted(set(asked)),
        "verdict": None,
        "copies": 0,
        **said,
    }


VERBS: Final[dict[str, Verb]] = {
    "model.register": register,
    "model.questions": questions,
    "model.test": conclude,
    "model.list": tests,
    "model.show": show,
}
