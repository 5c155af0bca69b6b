"""`limen login`: from a person to a session in one project, and the three lines that make every AWS tool use it."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from typing import TYPE_CHECKING

import click

from limen.cli import _cache

if TYPE_CHECKING:
    from limen.cli._gateway import Gateway


def say(text: str) -> None:
    """Talk to the person: stderr, so that stdout holds the answer only."""
    click.echo(text, err=True)


@click.command()
@click.option("--endpoint", required=True, envvar="LIMEN_ENDPOINT", help="The gateway's URL (environment: LIMEN_ENDPOINT).")
@click.option("--project", required=True, help="The project to open a session in.")
@click.option("--profile", default="", help="Name to keep the session under; the project's if left out.")
@click.option("--issuer", default="", help="Issuer to log in at, if the gateway accepts several.")
@click.option("--device", is_flag=True, help="Show a code to enter on another device instead of opening a browser.")
@click.option("--no-browser", is_flag=True, help="Only print the address to open.")
@click.option("--port", default=0, help="Loopback port for the answer, if the issuer wants a fixed one.")
@click.option("--hardware", is_flag=True, help="Ask the issuer for a hardware-backed login (acr phr).")
@click.option("--as", "hint", default="", metavar="SUBJECT", help="Login hint; the development issuer logs it in at once.")
@click.option("--duration", default=3600, show_default=True, help="Length of the session in seconds.")
def login(  # noqa: PLR0917  one parameter for each option
    endpoint: str,
    project: str,
    profile: str,
    issuer: str,
    device: bool,
    no_browser: bool,
    port: int,
    hardware: bool,
    hint: str,
    duration: int,
) -> None:
    """Open a session in one project, in a browser or by a device code, and keep it for the tools."""
    from limen.cli import _gateway, _signin, _web

    profile = _cache.check_profile(profile or project)
    wish = _signin.Wish(hint, hardware, not no_browser, port)
    with _web.plainly():
        gateway = _gateway.describe(endpoint)
        at = _signin.discover(*gateway.issuer(issuer))
        sign_in = _signin.by_device if device else _signin.by_browser
        tokens = sign_in(at, wish, say=say)
        issued = _gateway.assume(gateway.sts, project=project, id_token=tokens.id_token, name=profile, duration_s=duration)
    kept = _cache.Kept(
        endpoint=gateway.sts,
        region=gateway.region,
        project=project,
        **issued._asdict(),
        issuer=at.url,
        client_id=at.client_id,
        duration_s=duration,
        refresh_token=tokens.refresh_token,
        id_token="" if tokens.refresh_token else tokens.id_token,
    )
    _cache.write(profile, kept, current=True)
    until = time.strftime("%H:%M", time.localtime(issued.expires_at))
    say(f"Logged in to {project} until {until}. For your AWS tools (~/.aws/config):\n")
    click.echo(snippet(gateway, profile))


def snippet(gateway: Gateway, profile: str) -> str:
    """The profile that makes boto3, the aws command and every other SDK use this session."""
    found = shutil.which("limen")
    command = "limen" if found else f"{shlex.quote(sys.executable)} -m limen"
    return (
        f"[profile {profile}]\n"
        f"region = {gateway.region}\n"
        f"endpoint_url = {gateway.endpoint}\n"
        f"credential_process = {command} creds --profile {profile}"
    )
