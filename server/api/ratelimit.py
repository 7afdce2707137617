"""The limits of a key, as its requests meet them: refused, told in headers, charged.

Source of the headers and of their durations: OpenAI's guide to rate limits ("Rate limits in
headers"), `x-ratelimit-reset-tokens: 6m0s`.
"""

import math
from collections.abc import Iterable
from typing import Final

from engine.stream import estimate, pump
from machines import events
from server import permits
from server.api.call import Call
from server.context import Context
from server.http.errors import ApiError
from server.http.exchange import HeaderList
from server.keys.account import Level, Measure
from server.keys.keyring import Grant

WORTH_WAITING_S: Final = 60
"""Longest wait after which the SDKs are told to try again: they wait no longer than that, and ask
in vain otherwise (`_calculate_retry_timeout` of the Python SDK)."""

TOO_MANY: Final = events.TurnFailed(
    "rejected", "concurrency_exceeded", "Too many streams are open. Try again shortly."
)
"""The failure of a stream for which the server has no permit: a 429 (RFC 6585 §4)."""

TOO_MANY_OF_KEY: Final = events.TurnFailed(
    "rejected",
    "concurrency_exceeded",
    "Too many streams are open with this API key. Try again when one of them has ended.",
)
"""The same, where it is the key that has none."""


def admit(context: Context, call: Call) -> None:
    """Count a request for an answer, and have every answer to it say what is left of its limits.

    Raises:
        ApiError: `rate_limit_exceeded`; then it was not counted.
    """
    grant = call.caller.grant
    now = context.log.now() / 1_000_000
    refusing = grant.account.take(grant.limits, now)
    call.headers.extend(headers(grant.account.levels(grant.limits, now)))
    if refusing is not None:
        raise _refusal(grant, refusing)


def headers(levels: Iterable[Level]) -> HeaderList:
    """Return the headers of some limits; of two that count tokens, the one with less left."""
    found: dict[str, Level] = {}
    for level in levels:
        name = "requests" if level.measure is Measure.REQUESTS else "tokens"
        if name not in found or level.remaining < found[name].remaining:
            found[name] = level
    return [
        (f"x-ratelimit-{word}-{name}", value)
        for name, level in found.items()
        for word, value in (
            ("limit", str(level.limit)),
            ("remaining", str(level.remaining)),
            ("reset", duration(level.reset_s)),
        )
    ]


def duration(seconds: float) -> str:
    """Return a time as the API writes it: `120ms`, `1s`, `6m0s`, `23h59m59s`."""
    if seconds < 1:
        return f"{math.ceil(max(0.0, seconds) * 1000)}ms"
    minutes, left = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{left}s"
    return f"{minutes}m{left}s" if minutes else f"{left}s"


def _refusal(grant: Grant, level: Level) -> ApiError:
    whose = f" for key '{grant.name}'" if grant.name else ""
    measure = level.measure.value.replace("_", " ")
    message = (
        f"Rate limit reached{whose} on {measure}: Limit {level.limit}, Used {level.used}. "
        f"Please try again in {duration(level.reset_s)}."
    )
    wait = math.ceil(level.reset_s)
    should_retry = None if wait <= WORTH_WAITING_S else False
    return ApiError(
        "rate_limit_exceeded", message, retry_after=max(1, wait), should_retry=should_retry
    )


def permit(
    context: Context, grant: Grant, opened: events.Opened
) -> permits.Permit | events.TurnFailed:
    """Return the permit of a stream, or its failure where there is none.

    The server's limit is of streamed answers, that of a key of all: whoever asks for whole bodies
    keeps a worker as busy.
    """
    own = grant.account.permits
    streamed = opened.n if opened.streaming else 0
    taken = permits.take_all((context.permits, streamed), (own, opened.n))
    if taken is not None:
        return taken
    if own.has_room(opened.n):
        return TOO_MANY
    grant.account.refusals[Measure.STREAMS] += 1
    return TOO_MANY_OF_KEY


def charge(
    context: Context, grant: Grant, running: pump.Pump | None, terminal: events.Terminal
) -> None:
    """Charge a key with the tokens of an answer that has ended."""
    tokens = tokens_of(running, terminal)
    if tokens:
        grant.account.charge(grant.limits, tokens, context.log.now() / 1_000_000)


def tokens_of(running: pump.Pump | None, terminal: events.Terminal) -> int:
    """Return the tokens of an answer: those that are known, or else an estimate.

    Nobody counts an answer that fails or whose client leaves. If it was free, whoever wants tokens
    for nothing would leave before the end; so from the first text on it is estimated, by the
    measure that `max_tokens` is cut by. Before any text nothing is known, and nothing charged.
    """
    if terminal.usage is not None:
        return terminal.usage.total_tokens
    if running is None:
        return 0
    said = estimate.tokens(sum(running.size.said) + sum(running.size.thought))
    prompt = running.stream.opened.prompt_bytes or 0
    return said + estimate.tokens(prompt) if said else 0
