"""An open gateway in the test's own process, for what is below the doors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from inprocess import a_gateway
from limen import cli
from secretkinds import compiled_rules

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from limen.server import Gateway


@pytest.fixture
def in_gateway(tmp_path: Path) -> Callable[[Callable[[Gateway], Awaitable[Any]]], Any]:
    """Run a coroutine function with an open gateway, and close it after."""

    def run(body: Callable[[Gateway], Awaitable[Any]]) -> Any:
        async def whole() -> Any:
            gateway = await a_gateway(tmp_path / "data")
            try:
                return await body(gateway)
            finally:
                await gateway.close()

        return asyncio.run(whole())

    return run


@pytest.fixture(scope="session")
def rules() -> Path:
    """Where Kingfisher's compiled rules lie."""
    return compiled_rules()


@pytest.fixture
def limen(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command; returns its exit code, what it answered and what it said."""

    def run(*words: object) -> tuple[int, str, str]:
        code = 0
        try:
            cli.main([str(word) for word in words])
        except SystemExit as e:
            code = int(e.code or 0)
        return code, *capsys.readouterr()

    return run
