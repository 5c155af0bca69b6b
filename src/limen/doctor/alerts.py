"""Who is told of findings: whether each receiver can be sent to, and how many alerts wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from limen.config import alert_secrets
from limen.core.errors import Invalid
from limen.doctor.lines import broken, ok, unknown, warning
from limen.watch.target import check_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from limen.config import Config
    from limen.doctor.lines import Line

PART: Final = "alerts"


def look(config: Config, ask: Callable[[str], Any], *, running: bool) -> Iterator[Line]:
    """Nothing if limen.toml names no receiver: nobody has to be told."""
    if not config.alert:
        return
    if not running:
        try:
            check_all(config.alert, alert_secrets(config.alert))
        except Invalid as e:
            yield broken(PART, f"{e}; `limen serve` does not start so", "docs/alerts.md; with the environment that serves")
        else:
            says = f"how many alerts wait for {len(config.alert)} receivers: the gateway sends them, and none runs"
            yield unknown(PART, says, "start `limen serve`, then ask again")
        return
    answer = ask("alert.list")
    for row in answer["alerts"]:
        if row["waiting"] and row["attempts"]:
            says = f"{row['waiting']} alerts wait for {row['name']} after {row['attempts']} attempts"
            yield warning(PART, says, f"`limen alert test {row['name']}` says what it answers; nothing is lost meanwhile")
        else:
            yield ok(PART, f"{row['name']} has all but {row['waiting']} alerts")
    for name in answer["no_longer_configured"]:
        yield warning(PART, f"alerts wait for {name}, which limen.toml does not name any more", "name it again, or let them be")
