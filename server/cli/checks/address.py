"""Checks of the server's address: is it free, or does a server answer there, and how is it."""

import json
import socket
from collections.abc import Iterator
from typing import Any, Final

from server.cli import health
from server.cli.checks import quota
from server.cli.checks.findings import Finding, fail, ok, warn
from server.config import settings
from server.version import VERSION

LIMIT_S: Final = 3.0
"""Seconds for each question to a running server, which answers within milliseconds."""


def check(config: settings.Config) -> Iterator[Finding]:
    """Ask whoever listens where the server would."""
    wrong = _not_here(config)
    if wrong is not None:
        yield wrong
        return
    if config.port == 0:
        yield ok("port", "any free one")
        return
    place = health.near(config.host, config.port)
    try:
        status, _ = health.ask(place, "/livez", LIMIT_S)
        about = _json(health.ask(place, "/", LIMIT_S)[1])
    except ConnectionRefusedError:
        yield ok("port", f"{place.authority}, free")
    except TimeoutError:
        advice = "`/livez` answers while the event loop turns: this one is held. Look at its log."
        yield fail("port", f"{place.authority} is taken, and answers nothing", advice)
    except OSError as error:
        # Connections that are closed without an answer come from something that listens there.
        yield _taken(place, str(error))
    else:
        if status != 200 or about.get("name") != "turntape":
            yield _taken(place, "it is no Turntape")
            return
        yield ok("port", f"{place.authority}, a running server answers /livez")
        yield _running(place, about)
        yield from quota.check(_json(health.ask(place, "/healthz", LIMIT_S)[1]))


def _not_here(config: settings.Config) -> Finding | None:
    """Return a finding where the host is no address of this machine."""
    try:
        family = socket.getaddrinfo(config.host, 0, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind((config.host, 0))  # any free port: the configured one is left alone
    except (OSError, UnicodeError) as error:
        found = f"cannot listen on {config.host}: {health.reason_of(error)}"
        return fail("port", found, "PROXY_HOST must be an address of this machine.")
    return None


def _json(body: str) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _taken(place: health.Place, why: str) -> Finding:
    advice = (
        f"Set PORT to another, or stop what listens there: `ss -ltnp 'sport = :{place.port}'`."
    )
    return fail("port", f"{place.authority} is taken: {why}", advice)


def _running(place: health.Place, about: dict[str, Any]) -> Finding:
    version = about.get("version")
    status, body = health.ask(place, "/readyz", LIMIT_S)
    found = f"Turntape {version} on {place.authority}"
    if status != 200:
        said = _json(body)
        state = f"state {said.get('state')}, worker {said.get('worker')}"
        advice = f"`curl http://{place.authority}/healthz` has the state of each part."
        return fail("server", f"{found} is not ready: {state}", advice)
    if version != VERSION:
        advice = "Restart it, to run what is installed."
        return warn("server", f"{found}, and {VERSION} is installed", advice)
    return ok("server", f"{found}, ready")
