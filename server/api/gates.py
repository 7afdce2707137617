"""The gates before an endpoint: host, key, CORS, the server's own life."""

import hashlib
import hmac
import re
import secrets
from typing import Final

import msgspec

from engine import workerkinds
from engine.codex import disabled
from machines import lifecycle
from server.config.load import is_loopback
from server.context import Context
from server.http.errors import ApiError
from server.http.exchange import HeaderList, Request

REQUEST_ID: Final = re.compile(r"[\w.:-]{1,128}", re.ASCII)
"""The form of a client's `x-request-id` that is kept; any other is replaced."""


class Caller(msgspec.Struct, frozen=True):
    """The client that sends a request, as far as its key tells.

    Attributes:
        key_id: a hash of the key, empty without one: what a request leaves behind belongs to it.
    """

    request_id: str
    key_id: str = ""


def request_id(request: Request) -> str:
    """Return the client's own id of the request where it is fit to be repeated, else a fresh
    one."""
    given = request.headers.get("x-request-id")
    if given is not None and REQUEST_ID.fullmatch(given):
        return given
    return f"req_{secrets.token_hex(12)}"


def check_host(context: Context, request: Request) -> None:
    """Refuse host names that are not loopback's, where no key is set: by DNS rebinding any web
    page could ask this server.

    Raises:
        ApiError: `host_not_allowed`.
    """
    host = request.headers.get("host")
    if context.config.api_key is not None or host is None:
        return
    name = re.sub(r":\d+$", "", host).strip("[]")
    if not is_loopback(name):
        raise ApiError("host_not_allowed", "Without an API key only loopback hosts are served.")


def authenticate(context: Context, request: Request) -> str:
    """Check the request's key and return the id of its caller.

    Raises:
        ApiError: `invalid_api_key`.
    """
    wanted = context.config.api_key
    if wanted is None:
        return ""
    scheme, _, given = (request.headers.get("authorization") or "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise ApiError(
            "invalid_api_key", "You didn't provide an API key. Use `Authorization: Bearer KEY`."
        )
    if not hmac.compare_digest(given.strip().encode(), wanted.encode()):
        raise ApiError("invalid_api_key", "Incorrect API key provided.")
    return hashlib.blake2b(wanted.encode(), digest_size=8).hexdigest()


def check_life(context: Context) -> None:
    """Refuse new work while the server is not ready for it.

    Raises:
        ApiError: `server_shutdown`, `maintenance` or `worker_not_ready`.
    """
    state = context.lifecycle.state
    if state in (lifecycle.DRAINING, lifecycle.STOPPED):
        raise ApiError("server_shutdown", "The server is stopping.")
    if state == lifecycle.MAINTENANCE:
        raise ApiError("maintenance", "The server is in maintenance.")
    if not context.config.models and context.worker.kind is workerkinds.DISABLED:
        raise ApiError(disabled.CODE, "The Codex worker is switched off.")
    if not context.log.accepting:
        raise ApiError("worker_not_ready", "The event log cannot be written.")


def cors(context: Context, request: Request) -> HeaderList:
    """Return the headers that let an allowed origin read the answer; none for any other."""
    config = context.config
    origin = request.headers.get("origin")
    if not config.enable_cors or origin is None:
        return []
    allowed = config.cors_allowed_origins
    if "*" in allowed:
        return [("access-control-allow-origin", "*")]
    if origin not in allowed:
        return [("vary", "origin")]
    return [
        ("access-control-allow-origin", origin),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "x-request-id, x-turntape-stream, retry-after"),
        ("vary", "origin"),
    ]


def preflight(request: Request, methods: tuple[str, ...]) -> HeaderList:
    """Return the headers of an `OPTIONS` answer: the methods of the route, and every header asked
    for."""
    asked = request.headers.get("access-control-request-headers")
    headers = [
        ("access-control-allow-methods", ", ".join((*methods, "OPTIONS"))),
        ("access-control-max-age", "600"),
    ]
    if asked is not None and re.fullmatch(r"[\w\-, ]{1,1024}", asked, re.ASCII):
        headers.append(("access-control-allow-headers", asked))
    return headers
