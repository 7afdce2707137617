"""Streams as rows of tables, for formats that have some: a row a stream, a row a record."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from engine.log.find import stories
from engine.log.timeline import attempts, fold


class StreamRow(msgspec.Struct, frozen=True):
    """A stream; times are microseconds, `opened_us` since the epoch, others since then.

    Attributes:
        content: `masked` where texts in its records are.
        first_us: when the first piece of its answer went out.
    """

    stream: str
    request_id: str
    completion_id: str
    opened_us: int
    endpoint: str
    model: str
    target: str
    worker: str
    key: str
    content: str
    kind: str
    code: str | None
    status: int | None
    duration_us: int
    first_us: int | None
    longest_gap_us: int
    longest_gap_owner: str | None
    attempts: int
    calls: int
    prompt_tokens: int | None
    completion_tokens: int | None
    verdict: str


class RecordRow(msgspec.Struct, frozen=True):
    """A record of a stream.

    Attributes:
        t_us: since the epoch.
        text: of a delta; None of what has none.
        out: tags of what the machine answered, separated by blanks.
        record: the whole line, as JSON.
    """

    stream: str
    seq: int
    t_us: int
    event: str
    state: str
    out: str
    text: str | None
    record: str


def streams(found: Sequence[stories.Story]) -> Iterator[StreamRow]:
    """The row of each stream that has a record."""
    for story in found:
        if not story.records:
            continue
        told = fold.fold(story)
        request, ending, received = told.request, told.ending, told.received
        longest = told.gaps[0] if told.gaps else None
        usage = received.usage
        yield StreamRow(
            stream=story.stream,
            request_id=request.request_id,
            completion_id=request.completion_id,
            opened_us=request.opened_us,
            endpoint=request.endpoint,
            model=request.model,
            target=request.target,
            worker=request.worker,
            key=request.key,
            content=request.content,
            kind=ending.kind,
            code=ending.code,
            status=received.status,
            duration_us=ending.at_us,
            first_us=received.first_us,
            longest_gap_us=0 if longest is None else longest.end_us - longest.start_us,
            longest_gap_owner=None if longest is None else longest.owner,
            attempts=len(attempts.made(told.attempts)),
            calls=len(told.calls),
            prompt_tokens=None if usage is None else usage.prompt_tokens,
            completion_tokens=None if usage is None else usage.completion_tokens,
            verdict=told.verdict,
        )


class _Line(msgspec.Struct):
    text: str | None = None


_LINES = msgspec.json.Decoder(_Line)


def records(found: Sequence[stories.Story]) -> Iterator[RecordRow]:
    """The row of each record."""
    for story in found:
        for each in story.records:
            yield RecordRow(
                stream=each.stream,
                seq=each.seq,
                t_us=each.t,
                event=each.event,
                state=each.state,
                out=" ".join(each.out),
                text=_text(each.raw),
                record=each.raw.decode().rstrip("\n"),
            )


def _text(raw: bytes) -> str | None:
    try:
        return _LINES.decode(raw).text
    except msgspec.DecodeError:  # a later version's `text` may be anything
        return None


def columns(row: type[msgspec.Struct]) -> list[tuple[str, type]]:
    """The names of a row's columns, and `int` or `str` for each."""
    return [
        (field.name, int if field.type in (int, int | None) else str)
        for field in msgspec.structs.fields(row)
    ]


def values(row: msgspec.Struct) -> tuple[Any, ...]:
    """The values of a row, in the order of its columns."""
    return msgspec.structs.astuple(row)
