"""`GET /metrics`: who may ask, and the answer for Prometheus.

Figures of a server tell who uses it, when and how much. So they are open to nobody by accident:
whoever asks has the token, or sits at this machine, or the operator has opened them. A proxy on
this machine makes every client of its a local one; what it adds to a request gives it away.
"""

import asyncio
import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from server.access.entry import METRICS
from server.api import gates
from server.api.call import Call
from server.config.load import is_loopback
from server.config.settings import Config
from server.context import Context
from server.http.errors import ApiError
from server.http.exchange import Request

if TYPE_CHECKING:
    from server.metrics.exposition import Exposition
    from server.metrics.readings import Reading

KEY_NAME: Final = "PROXY_METRICS_TOKEN"
"""The name of the token, as access lines have it."""

OF_PROXIES: Final = ("forwarded", "via", "x-real-ip")
"""Headers that a proxy adds, besides those that begin with `x-forwarded`. Source: RFC 7239,
RFC 9110 §7.6.3, and the habit of nginx."""


def admit(config: Config, request: Request) -> str:
    """Let a request through that may read the metrics.

    Returns:
        The name of the token, where it was shown; empty where none was needed.

    Raises:
        ApiError: `invalid_api_key` where a token would help, else `host_not_allowed`.
    """
    token = config.metrics_token
    given = gates.bearer(request)
    if token is not None and given and hmac.compare_digest(given.encode(), token.encode()):
        return KEY_NAME
    if config.metrics_allow_unauth or (config.metrics_allow_loopback and _is_local(request)):
        return ""
    if token is not None:
        said = "Incorrect metrics token" if given else "You didn't provide the metrics token"
        raise ApiError("invalid_api_key", f"{said}. Use `Authorization: Bearer TOKEN`.")
    message = "Metrics are told to this machine only: no PROXY_METRICS_TOKEN is set."
    raise ApiError("host_not_allowed", message)


def _is_local(request: Request) -> bool:
    """Return whether a request comes from this machine and has passed no proxy."""
    headers = request.headers
    names = headers.names()
    if any(name in OF_PROXIES or name.startswith("x-forwarded") for name in names):
        return False
    host = headers.get("host")
    return host is not None and is_loopback(gates.host_name(host)) and is_loopback(request.peer)


async def metrics(context: Context, call: Call) -> None:
    """Answer `GET /metrics` in the format that is asked for: OpenMetrics, or Prometheus' own."""
    counted = context.metrics
    assert counted is not None, f"{METRICS} is no route without them"
    from server.ops import state  # nor what it reads, where nobody asks

    readings = [*counted.read(), *state.read(context)]
    accept = call.exchange.request.headers.get("accept")
    answer = await asyncio.to_thread(_expose, readings, accept)
    headers = [*call.headers, ("content-type", answer.content_type)]
    call.exchange.respond(200, headers, answer.body)


def _expose(readings: "Sequence[Reading]", accept: str | None) -> "Exposition":
    from server.metrics import exposition  # 20 ms and 2 MiB, in this thread

    return exposition.expose(readings, accept)
