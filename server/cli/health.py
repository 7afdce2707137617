"""`turntape health`: asks a running server for its state, for the health check of a container.

The problem: a container's supervisor asks every few seconds for as long as the container runs, and
the command line with its configuration takes 140 ms of CPU each time. So this is run
before anything else is loaded, knows two settings by their variables alone, and speaks HTTP by
itself. `tests/server/cli/test_health.py` counts the modules.
"""

import contextlib
import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from server.process import exits

if TYPE_CHECKING:
    import argparse

PORT: Final = "11435"
"""The server's own default, which a test compares: to load the settings takes too long here."""

LIMIT_S: Final = 3.0
"""Seconds until an answer must be there. A supervisor has a limit of its own, often 5 s or 30 s;
the reason should be on its record before that one ends the command."""

ANSWER_BYTES: Final = 64 * 1024
"""Most bytes of an answer that are read; the server's own have some 200."""

ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here
"""Addresses that a server listens on, and where it can be asked then."""


class Unreadable(ValueError):
    """Raised for a URL that cannot be asked; its text is for the operator."""


class Place(NamedTuple):
    """The address of a server."""

    host: str
    port: int

    @property
    def authority(self) -> str:
        """The address as HTTP has it, for a `Host` field."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def quick(arguments: Sequence[str]) -> int | None:
    """Run the command; None where its arguments need the parser, for help or for a complaint."""
    urls = [each for each in arguments if each != "--live"]
    if len(urls) > 1 or any(each.startswith("-") for each in urls):
        return None
    return _run(urls[0] if urls else None, "/livez" if "--live" in arguments else "/readyz")


def add_arguments(command: "argparse.ArgumentParser") -> None:
    """Declare the command's arguments, for its help."""
    command.add_argument(
        "url", nargs="?", help="the server's address; by default PROXY_HOST and PORT"
    )
    command.add_argument(
        "--live", action="store_true", help="ask whether it runs, not whether it takes requests"
    )


def run(options: "argparse.Namespace") -> int:
    """`turntape health`, where the parser has read the arguments."""
    return _run(options.url, "/livez" if options.live else "/readyz")


def _run(url: str | None, path: str) -> int:
    try:
        place = parse(url) if url else configured()
    except Unreadable as error:
        return _say(f"turntape: {error}", exits.USAGE)
    try:
        status, body = ask(place, path)
    except (OSError, UnicodeError) as error:
        return _say(f"unreachable: {place.authority}: {reason_of(error)}", exits.FAILED)
    if status == 200:
        return _say(_member(body, "status") or "well", exits.CLEAN)
    members = ((name, _member(body, name)) for name in ("state", "worker", "code"))
    details = ", ".join(f"{name} {value}" for name, value in members if value)
    text = f"{_member(body, 'status') or 'not well'}: status {status}"
    return _say(f"{text}, {details}" if details else text, exits.FAILED)


def reason_of(error: Exception) -> str:
    """Return what is to be said of an error: the system's words, its own, or at least its kind."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def configured() -> Place:
    """Return the address of the server that the environment describes.

    Raises:
        Unreadable: `PORT` is none.
    """
    host = os.environ.get("PROXY_HOST", "").strip() or "127.0.0.1"
    port = os.environ.get("PORT", "").strip() or PORT
    return near(host, _port(port, f"PORT: {port!r}"))


def near(host: str, port: int) -> Place:
    """Return the address at which a server that listens there is reached from this machine."""
    return Place(ANY.get(host, host), port)


def parse(url: str) -> Place:
    """Return the address in a URL, with `/v1` behind it or without.

    Raises:
        Unreadable: it is no URL of plain HTTP.
    """
    scheme, found, rest = url.partition("://")
    if not found:
        scheme, rest = "http", url
    if scheme.lower() != "http":
        raise Unreadable(f"{url!r}: only http:// can be asked; it is meant for the same host")
    authority = rest.partition("/")[0]
    host, _, port = authority.rpartition(":")
    if not host or authority.endswith("]"):
        host, port = authority, "80"
    host = host.removeprefix("[").removesuffix("]")
    if not host:
        raise Unreadable(f"{url!r} names no host")
    return Place(host, _port(port, repr(url)))


def _port(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536):
        raise Unreadable(f"{where} has no port from 1 to 65535")
    return int(text)


def ask(place: Place, path: str, limit: float = LIMIT_S) -> tuple[int, str]:
    """Return status and body of a GET.

    Raises:
        OSError: there was no answer within `limit` seconds, or it was no HTTP.
    """
    deadline = time.monotonic() + limit
    request = f"GET {path} HTTP/1.1\r\nhost: {place.authority}\r\nconnection: close\r\n\r\n"
    answer = b""
    with socket.create_connection(place, timeout=limit) as connection:
        connection.sendall(request.encode("ascii", "replace"))
        while len(answer) < ANSWER_BYTES:
            # Each of them may take what is left: a server that drips must not be waited for.
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            data = connection.recv(ANSWER_BYTES)
            if not data:
                break
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    version, _, rest = head.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise OSError("what answers is no HTTP server" if answer else "closed without an answer")
    return int(rest[:3]), body.decode("utf-8", "replace")


def _member(body: str, name: str) -> str:
    """Return a text of the server's JSON; its own answers need no parser."""
    return body.partition(f'"{name}":"')[2].partition('"')[0][:80]


def _say(text: str, status: int) -> int:
    output = sys.stderr if status == exits.USAGE else sys.stdout
    with contextlib.suppress(OSError):  # nobody may be reading, and the status is what counts
        output.write((text if text.isprintable() else ascii(text)) + "\n")
        output.flush()
    return status
