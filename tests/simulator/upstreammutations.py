"""Planted bugs of the path to an upstream; `tests.simulator.mutations` says what they are for."""

import contextlib
from collections.abc import Iterator
from typing import Any, Final
from unittest import mock

import aiohttp
import msgspec

from engine import failures, runningtext, worker
from engine.stream import times
from engine.upstream import (
    body as upstreambody,
    chunks,
    client as upstreamclient,
    decoding,
    errors as upstreamerrors,
    turn as upstreamturn,
)
from engine.upstream.chunkfields import Batch, Batches
from machines import events
from machines.tools import fragments as toolcalls
from machines.wire import eventsource
from tests.simulator.mutations import Mutation, nothing, replaced


def _truncation_is_a_success(_: Any, reader: chunks.ChunkReader) -> Batch:
    return reader._end_open()


async def _again_after_output(original: Any, turn: Any, body: bytes, attempt: int) -> Any:
    failure = await original(turn, body, attempt)
    if failure is not None or turn._reader.stage is not chunks.Stage.FAILED:
        return failure
    turn._reader = chunks.ChunkReader(turn._turn.choices, turn._turn.choice)
    return msgspec.structs.replace(upstreamerrors.DISCONNECTED, retryable=True)


def _silently(original: Any, reader: Any, failure: failures.ProviderFailure) -> Batch:
    """`ChunkReader.fail` that leaves it to another attempt."""
    batch: Batch = original(reader, failure)
    return [event for event in batch if not isinstance(event, events.TurnFailed)]


@contextlib.contextmanager
def _retried_after_output() -> Iterator[None]:
    attempts = replaced(upstreamturn.UpstreamTurn, "_attempt", _again_after_output)
    failures_kept = replaced(chunks.ChunkReader, "fail", _silently)
    with attempts(), failures_kept():
        yield


def _pasted(original: Any, texts: runningtext.RunningText, whole: str) -> str | None:
    """`RunningText.rest_of` that goes by the length alone."""
    return original(texts, whole) if len(whole) < texts._length else whole[texts._length :]


def _summed(original: Any, reader: chunks.ChunkReader, usage: Any) -> bool:
    known = reader._usage
    reader._usage = None
    counted: bool = original(reader, usage)
    if known is not None:
        found = reader._usage or events.Usage(0, 0)
        reader._usage = events.Usage(
            known.prompt_tokens + found.prompt_tokens,
            known.completion_tokens + found.completion_tokens,
        )
    return counted


def _one_call(original: Any, joiner: Any, fragment: toolcalls.Fragment) -> Any:
    return joiner._last or original(joiner, fragment)


def _no_error(original: Any, *given: Any) -> Any:
    return original(*given)[0], None


def _alive_by_comments(original: Any, body: upstreambody.AnswerBody, data: bytes) -> Batches:
    found = False
    for batch in original(body, data):
        found = found or bool(batch)
        yield batch
    if not found:
        yield [events.RpcReplied(1, None, body._reader._choices.start)]


def _deaf_to_cancel(_: Any, turn: Any) -> None:
    turn._feed = worker.SILENCE


async def _unnoticed(*_: Any) -> None:
    """In place of what takes note of a used connection."""


def _first_line_only(original: Any, source: Any, value: bytes) -> None:
    if not source._data:
        original(source, value)


def _by_position(_: Any, reader: Any, choice: Any, position: int) -> int:
    return int(reader._choices.start + position)


def _body_ends_in_error(original: Any, body: upstreambody.AnswerBody) -> Batches:
    if body._reader.stage is chunks.Stage.BEGUN:
        yield body._reader.fail(upstreamerrors.UNDECODABLE)
    else:
        yield from original(body)


UPSTREAM_MUTATIONS: Final[dict[str, Mutation]] = {
    "truncation_is_a_success": replaced(chunks.ChunkReader, "close", _truncation_is_a_success),
    "retried_after_output": _retried_after_output,
    "message_pasted": replaced(runningtext.RunningText, "rest_of", _pasted),
    "message_said_twice": replaced(
        runningtext.RunningText, "rest_of", lambda original, texts, whole: whole
    ),
    "usage_summed": replaced(chunks.ChunkReader, "_count", _summed),
    "calls_joined_into_one": replaced(toolcalls.Joiner, "_find", _one_call),
    "choices_by_position": replaced(chunks.ChunkReader, "_number", _by_position),
    "error_object_swallowed": replaced(decoding, "read", _no_error),
    "pressure_ignored": replaced(upstreamturn.UpstreamTurn, "pause", nothing),
    "never_read_on": replaced(upstreamturn.UpstreamTurn, "resume", nothing),
    "response_not_closed": replaced(aiohttp.ClientResponse, "close", nothing),
    "work_goes_on_for_nobody": replaced(upstreamturn.UpstreamTurn, "cancel", _deaf_to_cancel),
    "grace_without_an_end": lambda: mock.patch.object(upstreamturn, "GRACE_PART", 1_000),
    "idle_timer_not_reset": replaced(times.Times, "saw_event", nothing),
    "comments_are_a_sign_of_life": replaced(upstreambody.AnswerBody, "feed", _alive_by_comments),
    "stale_connection_not_replaced": lambda: mock.patch.object(
        upstreamclient, "_reused", _unnoticed
    ),
    "broken_connection_tried_again": lambda: mock.patch.object(
        upstreamclient,
        "Reuse",
        lambda: mock.NonCallableMock(connection=upstreamclient.Connection.REUSED),
    ),
    "refusal_not_tried_again": lambda: mock.patch.object(upstreamerrors, "RETRIED", frozenset()),
    "refusal_tried_again": lambda: mock.patch.object(
        upstreamerrors, "RETRIED", frozenset({429, 503})
    ),
    "retry_after_lost": replaced(
        upstreamclient, "advice_of", lambda *_, **__: upstreamerrors.NO_ADVICE
    ),
    "second_line_lost": replaced(eventsource.EventSource, "_add", _first_line_only),
    "cut_event_is_garbled": replaced(upstreambody.AnswerBody, "end", _body_ends_in_error),
    "key_of_the_client": replaced(
        upstreamclient.Client,
        "_session",
        lambda original, client, options, *rest, **more: original(
            client, msgspec.structs.replace(options, api_key="alice"), *rest, **more
        ),
    ),
}
"""Every planted bug by its name."""
