"""Every attribute of a span, declared once: its names, its meaning, and where it is read.

The names of `GENAI` are those of the span `gen_ai.client.inference` in the GenAI semantic
conventions (open-telemetry/semantic-conventions-genai, v0.1.0); the names of HTTP are those of the
semantic conventions' stable `http` spans. Most backends still know the GenAI names of semantic
conventions 1.28.0: those are `older`. What neither has is under `turntape.`. `docs/tracing.md`
prints this table.

No attribute has a word of a client's or a model's: prompts, answers, calls, stop sequences and
messages of errors are nowhere here. What a client may make up (a model's name, an id) is masked
where it is not spelled as such a thing, as in the event log.
"""

from collections.abc import Callable
from typing import Final, Literal

import msgspec

from engine.log.content import mask
from machines import events
from server.access.entry import NOBODY_SAW, Entry, StreamEnd

Conventions = Literal["gen-ai-0.1.0", "1.28.0"]
"""The versions of the GenAI names that there are."""

Value = str | int | float | bool | tuple[str, ...] | None
"""A value of an attribute; None: it is left out."""

OTHER_METHOD: Final = "_OTHER"
"""A method that the semantic conventions do not know (`http.request.method`)."""

METHODS: Final = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))
"""Methods that are told as they came. Source: RFC 9110 §9, RFC 5789."""

PROVIDERS: Final = {"codex": "openai", "upstream": "openai", "scripted": "turntape"}
"""`gen_ai.provider.name` by the worker: what an upstream really is it does not tell, and the
conventions have `openai` for whatever speaks that API."""

MICROSECONDS: Final = 1_000_000


class Ended(msgspec.Struct, frozen=True):
    """All that a span is made of.

    Attributes:
        count: requests that the entry stands for.
        server: address and port of an upstream, where the answer came from one; else None.
    """

    entry: Entry
    count: int = 1
    server: tuple[str, int] | None = None

    @property
    def end(self) -> StreamEnd:
        """The stream, of the span of an answer."""
        assert self.entry.stream is not None, "it has a span only then"
        return self.entry.stream


Read = Callable[[Ended], Value]
"""Reads the value of an attribute."""


class Attribute(msgspec.Struct, frozen=True):
    """One attribute.

    Attributes:
        older: its name in the older conventions; empty: they have none, and it is left out there.
    """

    name: str
    older: str
    meaning: str
    read: Read


def _same(name: str, meaning: str, read: Read) -> Attribute:
    return Attribute(name, name, meaning, read)


def _asked(name: str, older: str | None = None) -> Attribute:
    def read(ended: Ended) -> Value:
        return ended.entry.asked.get(name)

    return Attribute(name, older or name, "as the client asked", read)


def _tokens(name: str, older: str, meaning: str, field: str) -> Attribute:
    def read(ended: Ended) -> Value:
        usage = ended.end.terminal.usage
        return None if usage is None else (getattr(usage, field) or None)

    return Attribute(name, older, meaning, read)


def operation(endpoint: str) -> str:
    """Return the conventions' word for what an endpoint does (`gen_ai.operation.name`)."""
    return "text_completion" if endpoint == events.COMPLETIONS else "chat"


def _method(ended: Ended) -> Value:
    return ended.entry.method if ended.entry.method in METHODS else OTHER_METHOD


def _error(ended: Ended) -> Value:
    entry = ended.entry
    if entry.written_code is not None:
        return entry.written_code
    return "client_gone" if entry.kind == "client_gone" else None


def _time_to_first(ended: Ended) -> Value:
    ttft_us = ended.end.terminal.ttft_us
    return None if ttft_us is None else ttft_us / MICROSECONDS


def _words(ended: Ended) -> Value:
    reasons = ended.end.terminal.finish_reasons
    return tuple(reason or "error" for reason in reasons) if any(reasons) else None


def _answered(ended: Ended) -> Value:
    taken = ended.entry.stood_in
    return mask.mask_name(ended.end.opened.target if taken is None else taken.model)


def _provider(ended: Ended) -> Value:
    taken = ended.entry.stood_in
    name = ended.end.opened.worker if taken is None else taken.worker
    return PROVIDERS.get(name, "openai")


ERROR: Final = _same("error.type", "the error code, or `client_gone`; only of a failure", _error)

OF_REQUESTS: Final = (
    _same("http.request.method", "the method, `_OTHER` where it is none of HTTP's", _method),
    _same("http.route", "the route's pattern", lambda ended: ended.entry.route or None),
    _same(
        "http.response.status_code",
        "the status; 499 where the client left before it",
        lambda ended: ended.entry.status or NOBODY_SAW,
    ),
    _same("url.scheme", "`http`: TLS is a proxy's", lambda _: "http"),
    _same("client.address", "as in the access line", lambda ended: ended.entry.client or None),
    ERROR,
    _same(
        "turntape.request_id", "`x-request-id` of the answer", lambda ended: ended.entry.request_id
    ),
    _same("turntape.kind", "how it ended, as in the access line", lambda ended: ended.entry.kind),
    _same(
        "turntape.overhead_ms",
        "our own time, as `x-turntape-overhead-ms`",
        lambda ended: None if ended.entry.own_us is None else ended.entry.own_us / 1000,
    ),
    _same("turntape.key", "name of the key that was shown", lambda ended: ended.entry.key or None),
    _same(
        "turntape.requests",
        "how many refusals of strangers it stands for, if not one",
        lambda ended: ended.count if ended.count > 1 else None,
    ),
)
"""The attributes of a request's span."""

OF_ANSWERS: Final = (
    _same(
        "gen_ai.operation.name",
        "`chat`, or `text_completion` of a legacy completion",
        lambda ended: operation(ended.end.opened.endpoint),
    ),
    Attribute("gen_ai.provider.name", "gen_ai.system", "who is asked, by the worker", _provider),
    _same(
        "gen_ai.request.model",
        "the model as the client wrote it",
        lambda ended: mask.mask_name(ended.end.opened.model),
    ),
    _same("gen_ai.response.model", "the model that the worker was asked for", _answered),
    _same(
        "gen_ai.response.id",
        "the answer's id",
        lambda ended: ended.end.opened.completion_id,
    ),
    _same("gen_ai.response.finish_reasons", "one for each choice", _words),
    ERROR,
    Attribute(
        "gen_ai.request.stream",
        "",
        "whether it was streamed",
        lambda ended: ended.end.opened.streaming or None,
    ),
    Attribute(
        "gen_ai.request.choice.count",
        "",
        "`n`, if not 1",
        lambda ended: ended.end.opened.n if ended.end.opened.n > 1 else None,
    ),
    Attribute(
        "gen_ai.request.reasoning.level",
        "",
        "the reasoning effort",
        lambda ended: ended.end.opened.effort and mask.mask_code(ended.end.opened.effort),
    ),
    _asked("gen_ai.request.max_tokens"),
    _asked("gen_ai.request.temperature"),
    _asked("gen_ai.request.top_p"),
    _asked("gen_ai.request.frequency_penalty"),
    _asked("gen_ai.request.presence_penalty"),
    _asked("gen_ai.request.seed", "gen_ai.openai.request.seed"),
    Attribute(
        "gen_ai.response.time_to_first_chunk",
        "",
        "seconds from its opening to the first text, reasoning or call",
        _time_to_first,
    ),
    _tokens(
        "gen_ai.usage.input_tokens", "gen_ai.usage.input_tokens", "of the prompt", "prompt_tokens"
    ),
    _tokens(
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.output_tokens",
        "of the answer",
        "completion_tokens",
    ),
    _tokens(
        "gen_ai.usage.cache_read.input_tokens", "", "of the prompt, from a cache", "cached_tokens"
    ),
    _tokens(
        "gen_ai.usage.reasoning.output_tokens", "", "of the answer, thinking", "reasoning_tokens"
    ),
    _same(
        "server.address",
        "the upstream's host, where one answered",
        lambda ended: ended.server and ended.server[0],
    ),
    _same("server.port", "its port", lambda ended: ended.server and ended.server[1]),
    _same("turntape.stream_id", "the stream in the event log", lambda ended: ended.end.stream_id),
    _same("turntape.kind", "the kind of its end", lambda ended: ended.end.terminal.kind),
    _same(
        "turntape.usage.source",
        "`estimated` where the counts are not the worker's",
        lambda ended: ended.end.terminal.usage_source if ended.end.terminal.usage else None,
    ),
)
"""The attributes of an answer's span."""


def values(
    table: tuple[Attribute, ...], ended: Ended, conventions: Conventions
) -> dict[str, str | int | float | bool | tuple[str, ...]]:
    """Read the attributes of a span, under the names of one version."""
    found = {}
    for each in table:
        name = each.name if conventions == "gen-ai-0.1.0" else each.older
        value = each.read(ended) if name else None
        if value is not None:
            found[name] = value
    return found
