"""Why a client that closed its connection may have done so: what its times speak for.

Nothing in a log says why a client left. How long it had waited, and for what, rules most reasons
out: nobody's time limit is 20 ms, and no proxy gives up a connection that has just had data.
"""

from typing import Final, NamedTuple

from engine.log.timeline.codes import Cause

AT_ONCE_US: Final = 1_000_000
"""Up to when a client has not waited for anything."""

SILENT_US: Final = 5_000_000
"""From how long on a silence may be one that somebody's limit ended."""

LIMITS_S: Final = (10, 15, 20, 30, 45, 60, 90, 100, 120, 180, 240, 300, 600, 900)
"""Time limits that clients and proxies come with, in seconds: nginx 60, Cloudflare 100, the SDKs
600."""

NEAR_US: Final = 250_000
"""How far from one of these a client leaves that it made leave."""


class Left(NamedTuple):
    """The figures of a client that left.

    Attributes:
        at_us: since its request came.
        silent_us: how long nothing had come from the worker by then.
        is_stream: whether it was sent pieces, and heartbeats between them.
        has_begun: whether a piece of the answer had been made.
    """

    at_us: int
    silent_us: int = 0
    is_stream: bool = True
    has_begun: bool = False


def cause(left: Left) -> Cause:
    """Return the likely cause."""
    coming = "while its answer was coming" if left.is_stream else "before its answer was whole"
    when = coming if left.has_begun else "before anything had come"
    if left.at_us < AT_ONCE_US:
        return Cause(
            "client",
            f"The client closed its connection {_ms(left.at_us)} after its request, {when}: too"
            " soon for a time limit.",
            "Look at the client: a user stopped it, it asked again, or it crashed.",
        )
    limit = _limit(left.at_us)
    if limit is not None:
        instead = "" if left.is_stream else ", or have the client ask for a stream"
        return Cause(
            "client",
            f"The client closed its connection {when}, after {limit} s: a usual time limit, of its"
            " own or of a proxy between.",
            f"Raise that limit at the client or the proxy{instead}.",
        )
    if left.silent_us < SILENT_US:
        return Cause(
            "client",
            f"The client closed its connection {when}, and nothing had been late: a user stopped"
            " it, or it has crashed.",
            "Ask the client's side what it did then.",
        )
    if not left.is_stream:
        return Cause(
            "client",
            "The client closed its connection before its answer was whole: it, or a proxy"
            " between, had waited long enough.",
            "Have the client ask for a stream, or raise its time limit.",
        )
    return Cause(
        "client",
        f"The client closed its connection {when}, in a silence of the model: a user had waited"
        " long enough, or a proxy between gave up.",
        "Ask the client's side; a proxy's limit for silence must be longer than"
        " PROXY_SSE_KEEPALIVE_MS.",
    )


def _ms(microseconds: int) -> str:
    return f"{microseconds / 1000:.0f} ms"


def _limit(microseconds: int) -> int | None:
    """Return the limit that was up then, in seconds; None: none was."""
    return next(
        (limit for limit in LIMITS_S if abs(microseconds - limit * 1_000_000) <= NEAR_US), None
    )
