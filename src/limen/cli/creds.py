"""`limen creds`: the kept session as `credential_process` JSON (AWS SDKs' "process credential provider", version 1).

Runs before every command of the holder's tools, so a session that is still good is printed within 0.1 s and without a
word on the network. A session about to end is renewed if the login left the means to.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Final

import click

from limen.cli import _cache

SPARE_S: Final = 300


@click.command()
@click.option("--project", "--profile", "profile", default="", help="Whose session: the profile or project of a login.")
def creds(profile: str) -> None:
    """Print the session for `credential_process`."""
    profile = _cache.chosen(profile)
    kept = _cache.read(profile)
    now = int(time.time())
    if kept.expires_at - now < SPARE_S:
        from limen.cli._renew import renewed

        kept = renewed(profile, kept, now=now, spare_s=SPARE_S) or kept
    if kept.expires_at <= now:
        chosen = "" if profile == kept.project else f" --profile {profile}"
        click.echo(f"session ended: run limen login --endpoint {kept.endpoint} --project {kept.project}{chosen}", err=True)
        sys.exit(1)
    click.echo(
        json.dumps(
            {
                "Version": 1,
                "AccessKeyId": kept.access_key_id,
                "SecretAccessKey": kept.secret_access_key,
                "SessionToken": kept.session_token,
                "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(kept.expires_at)),
            }
        )
    )
