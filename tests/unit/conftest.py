"""An open gateway in the test's own process, for what is below the doors."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from inprocess import a_gateway
from limen import cli
from limen.scan.keyring import Keyring
from limen.scan.secrets import Kingfisher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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
    """Kingfisher's compiled rules, made once for all test runs: it takes some seconds."""
    place = Path(__file__).resolve().parents[2] / ".make" / "rules"
    with Kingfisher.ready(Keyring.of(b"k" * 32), rules=place) as kingfisher:
        if kingfisher.rules is not None and not kingfisher.rules.exists():
            kingfisher.search([("00" * 20, b"nothing")])
    return place


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
