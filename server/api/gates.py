"""The gates before an endpoint: host, key, CORS, the server's own life."""

import hmac
import re
import secrets
from typing import Final

import msgspec

from engine import workerkinds
from engine.codex import disabled
from machines import lifecycle
from server.api import owntime
from server.config.load import is_loopback
from server.context import Context
from server.http.errors import ApiError
from server.http.exchange import Exchange, HeaderList, Request
from server.http.websocket import words
from server.keys import keyring

REQUEST_ID: Final = re.compile(r"(?!st_|rj_|wk_)[\w.:-]{1,128}", re.ASCII)
"""The form of a client's `x-request-id` that is kept; any other is replaced."""


KEY_NAME: Final = keyring.SETTING
"""The name of the key that is a setting, in access lines."""

ADMIN_KEY_NAME: Final = "PROXY_ADMIN_KEY"
"""The name of the operator's key there."""


INCORRECT: Final = "Incorrect API key provided."
"""Said of a key that is nobody's, the operator's as the clients'."""

EXPOSED: Final = ", ".join(
    (
        "x-request-id",
        "x-turntape-stream",
        owntime.HEADER,
        "retry-after",
        *(
            f"x-ratelimit-{word}-{measure}"
            for measure in ("requests", "tokens")
            for word in ("limit", "remaining", "reset")
        ),
    )
)
"""Headers of answers that scripts of an allowed origin may read."""


class Caller(msgspec.Struct, frozen=True):
    """The client that sends a request, as far as its key tells.

    Attributes:
        grant: of its key, or of a server that needs none.
    """

    request_id: str
    grant: keyring.Grant = keyring.NOBODY

    @property
    def key_id(self) -> str:
        """The owner of what a request leaves behind; empty without a key."""
        return self.grant.key_id


def request_id(request: Request | None) -> str:
    """Return the client's own id of the request where it is fit to be repeated, else a fresh
    one."""
    given = None if request is None else request.headers.get("x-request-id")
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
    if context.config.needs_key or host is None:
        return
    if not is_loopback(host_name(host)):
        raise ApiError("host_not_allowed", "Without an API key only loopback hosts are served.")


def host_name(host: str) -> str:
    """Return the name or address in a `Host` header."""
    return re.sub(r":\d*$", "", host).strip("[]")  # the port may be empty (RFC 3986 §3.2.3)


def bearer(request: Request) -> str:
    """Return the token of a request's `Authorization: Bearer`; empty without one."""
    scheme, _, given = (request.headers.get("authorization") or "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


def upgrades(exchange: Exchange) -> bool:
    """Return whether a request asks for a WebSocket (RFC 6455 §4.1)."""
    request = exchange.request
    asked = "websocket" in words(request.headers.get_all("upgrade"))
    return asked and request.method == "GET" and exchange.may_switch


def authenticate(context: Context, request: Request) -> keyring.Grant:
    """Check the request's key and return what may be asked for with it.

    Raises:
        ApiError: `invalid_api_key`.
    """
    if not context.config.needs_key:
        return context.keyring.anyone
    given = _given(request)
    try:
        found = context.keyring.find(given, context.now())
    except keyring.KeyExpired:
        raise ApiError("invalid_api_key", "This API key has expired.") from None
    if found is None:
        raise ApiError("invalid_api_key", INCORRECT)
    return found


def recognise(context: Context, request: Request) -> keyring.Grant:
    """Return the grant of a request that needs no key: of its key, where it has shown one."""
    try:
        return authenticate(context, request)
    except ApiError:
        return keyring.NOBODY


def authenticate_admin(context: Context, request: Request) -> None:
    """Check that a request has the operator's key; no client's key will do.

    Raises:
        ApiError: `invalid_api_key`.
    """
    wanted = context.config.admin_key
    assert wanted is not None, "without one there are no such routes"
    _check_key(request, wanted)


def is_admin(context: Context, request: Request) -> bool:
    """Whether a request has the operator's key."""
    admin_key = context.config.admin_key
    given = bearer(request).encode()
    return admin_key is not None and hmac.compare_digest(given, admin_key.encode())


def admit_to_usage(context: Context, request: Request) -> str | None:
    """Return the name of what opens the usage of all: the operator's key, or empty where no key is
    needed; None where a client's key must be shown."""
    if is_admin(context, request):
        return ADMIN_KEY_NAME
    return "" if context.config.usage_allow_unauth else None


def _check_key(request: Request, wanted: str) -> None:
    if not hmac.compare_digest(_given(request).encode(), wanted.encode()):
        raise ApiError("invalid_api_key", INCORRECT)


def _given(request: Request) -> str:
    """Return the key that a request has."""
    given = bearer(request)
    if not given:
        raise ApiError(
            "invalid_api_key", "You didn't provide an API key. Use `Authorization: Bearer KEY`."
        )
    return given


def check_life(context: Context) -> None:
    """Refuse new work while the server is not ready for it.

    Raises:
        ApiError: `server_shutdown`, `maintenance` or `worker_not_ready`.
    """
    state = context.lifecycle.state
    if state in (lifecycle.DRAINING, lifecycle.STOPPED):
        raise ApiError("server_shutdown", "The server is stopping.")
    if (window := context.maintenance.current()) is not None:
        wait = context.maintenance.retry_after()
        raise ApiError("maintenance", window.message, retry_after=wait)
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
        ("access-control-expose-headers", EXPOSED),
        ("vary", "origin"),
    ]


def check_origin(context: Context, request: Request) -> None:
    """Refuse a WebSocket of a page whose origin is not allowed: CORS does not guard them.

    Raises:
        ApiError: `origin_not_allowed`.
    """
    origin, config = request.headers.get("origin"), context.config
    allowed = config.cors_allowed_origins if config.enable_cors else ()
    if origin is not None and origin not in allowed and "*" not in allowed:
        raise ApiError("origin_not_allowed", "Pages of this origin may not open a WebSocket here.")


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
