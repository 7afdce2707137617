"""Turns the log of one captured stream into a transcript: fixed ids, fixed times, the same steps.

What differs from run to run is replaced, and nothing else: ids by numbers in order of appearance,
times by a steady pace, the jitter of retries by its longest, the key of the body's hash. The
events are then folded by today's machine, and each step must come out as it was logged.
"""

import itertools
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from engine import failures
from engine.log import event_log as eventlog
from engine.log.content.digest import HASH_BYTES, BodyDigest
from engine.log.read import segments
from engine.log.settings import LogSettings
from engine.stream.times import CONTENTS, TOKENS, Times
from machines import events, outputs
from machines.stream import machine as stream
from server.renderers import reply

EPOCH_US: Final = 1_767_225_600_000_000
"""When every transcript was opened: the beginning of 2026, in UTC."""

SHORT_US: Final = 1_000
"""Time between two events of which the later is no delta."""

HASH_KEY: Final = bytes(HASH_BYTES)
"""Key of every transcript's body hash: they are public, so it has nothing to hide."""

Entry = tuple[segments.Record, events.StreamInput]
"""One step as it was logged, and its event as it goes on file."""

Steps = list[tuple[events.StreamInput, outputs.Step]]
"""Events, and what the machine makes of them."""


class Changed(Exception):
    """Raised where a step does not come out as it was logged."""


class Transcript(msgspec.Struct, frozen=True):
    """What is on file of a scenario; each member is a file's suffix.

    Attributes:
        jsonl: the event log of the stream.
        sse: the body that a streaming client gets.
        json: status, headers and body that any other client gets.
    """

    jsonl: bytes
    sse: bytes
    json: bytes


def transcript(name: str, records: list[segments.Record], pace_ms: int) -> Transcript:
    """The transcript of one captured stream.

    Args:
        records: all of the stream, from its first to its last.
        pace_ms: time between two deltas.

    Raises:
        Changed: its events do not lead to what the log says.
    """
    first, *between, last = records
    opened, terminal = first.load(), last.load()
    assert isinstance(opened, events.Opened), "the log's beginning is missing"
    assert isinstance(terminal, events.Terminal), "the log's end is missing"
    opened = _opened(opened, name)
    entries = list(_numbered(_in_order(list(_entries(between)))))
    steps = list(_folded(name, opened, entries))
    times = list(_times([event for _, event in entries], pace_ms))
    sse = streamed(opened, steps, times)
    return Transcript(
        jsonl=_written(opened, steps, times, _terminal(terminal, steps, times, sse)),
        sse=sse,
        json=_answered(opened, steps, times),
    )


def streamed(opened: events.Opened, steps: Steps, times: list[int]) -> bytes:
    """The body of a streamed answer, whose events happen at these times."""
    renders = reply(opened)
    return b"".join(
        renders.render(output, now)
        for now, (_, step) in zip(times, steps, strict=True)
        for output in step.outputs
    )


def _answered(opened: events.Opened, steps: Steps, times: list[int]) -> bytes:
    """The same events for a client that did not ask for a stream."""
    opened = msgspec.structs.replace(opened, streaming=False, include_usage=False)
    machine, renders = stream.Stream(opened), reply(opened)
    body = b"".join(
        renders.render(output, now)
        for now, (event, _) in zip(times, steps, strict=True)
        for output in machine.step(event).outputs
    )
    answer = {
        "status": renders.status or None,
        "headers": dict(renders.headers) if body else {},
        "body": msgspec.Raw(body or b"null"),
    }
    return msgspec.json.format(msgspec.json.encode(answer), indent=2) + b"\n"


def _opened(opened: events.Opened, name: str) -> events.Opened:
    versions = dict(opened.versions)
    versions["python"] = ".".join(versions["python"].split(".")[:2])
    return msgspec.structs.replace(
        opened,
        request_id=name,
        completion_id=re.sub(r"[0-9A-Za-z]+$", "1", opened.completion_id),
        created=EPOCH_US // 1_000_000,
        hash_key=HASH_KEY.hex(),
        versions=versions,
    )


def _entries(records: Iterable[segments.Record]) -> Iterator[Entry]:
    for record in records:
        event = record.load()
        assert isinstance(event, events.StreamInput), f"a stream with {record.event} in it"
        yield record, event


def _in_order(entries: list[Entry]) -> list[Entry]:
    """Choices by who spoke first, and in a stretch without output one choice after the other.

    Which of two turns Codex begins first is chance; they do not know of each other.
    """
    spoken = [_choice(event) for record, event in entries if record.out]
    order = {choice: number for number, choice in enumerate(dict.fromkeys(spoken))}
    renamed: list[Entry] = []
    for record, event in entries:
        choice = _choice(event)
        if hasattr(event, "choice"):
            event = msgspec.structs.replace(event, choice=order.get(choice, choice))
        renamed.append((record, event))
    stretches = itertools.groupby(renamed, key=lambda entry: bool(entry[0].out))
    return [
        entry
        for loud, stretch in stretches
        for entry in (stretch if loud else sorted(stretch, key=lambda each: _choice(each[1])))
    ]


def _choice(event: events.StreamInput) -> int:
    return getattr(event, "choice", 0)


def _numbered(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Ids as numbers from 1 in order of appearance, each retry after its longest delay."""
    calls: dict[int, int] = {}
    threads: dict[str, int] = {}
    lives: dict[str, int] = {}
    for record, event in entries:
        match event:
            case events.RpcSent() | events.RpcReplied():
                number = calls.setdefault(event.rpc_id, len(calls) + 1)
                yield record, msgspec.structs.replace(event, rpc_id=number)
            case events.TurnStarted():
                number = threads.setdefault(event.thread_id, len(threads) + 1)
                life = lives.setdefault(event.process, len(lives) + 1)
                yield (
                    record,
                    msgspec.structs.replace(
                        event,
                        thread_id=f"thread-{number}",
                        turn_id=f"turn-{number}",
                        process=f"wk_{life}",
                    ),
                )
            case events.ThreadChanged() if event.thread_id:
                number = threads.setdefault(event.thread_id, len(threads) + 1)
                yield record, msgspec.structs.replace(event, thread_id=f"thread-{number}")
            case events.RetryScheduled():
                longest = failures.RETRY_BASE_S * 2 ** (event.attempt - 1)
                delay_ms = round(longest * 1000)
                yield record, msgspec.structs.replace(event, delay_ms=delay_ms)
            case events.ReasoningCompleted(content):
                # The id of the provider's item stands in it, and counts the provider's answers.
                named = re.sub(r"^rs_resp_\d+_", "rs_resp_1_", content)
                yield record, msgspec.structs.replace(event, encrypted_content=named)
            case _:
                yield record, event


def _folded(
    name: str, opened: events.Opened, entries: Iterable[Entry]
) -> Iterator[tuple[events.StreamInput, outputs.Step]]:
    machine = stream.Stream(opened)
    for record, event in entries:
        step = machine.step(event)
        out = tuple(output.__struct_config__.tag for output in step.outputs)
        logged = record.state, record.out, record.decision
        if (step.state, out, step.decision) != logged:
            raise Changed(f"{name}: record {record.seq}: {logged} is now {step}")
        yield event, step


def _times(inputs: list[events.StreamInput], pace_ms: int) -> Iterator[int]:
    """When each event happens, in microseconds; the opening is at `EPOCH_US`."""
    now = EPOCH_US
    for before, event in zip([None, *inputs], inputs, strict=False):
        if isinstance(before, events.RetryScheduled):
            now += before.delay_ms * 1000
        elif isinstance(event, events.TextDelta | events.ReasoningDelta):
            now += pace_ms * 1000
        else:
            now += SHORT_US
        yield now


def _terminal(
    terminal: events.Terminal, steps: Steps, times: list[int], sse: bytes
) -> events.Terminal:
    digest = BodyDigest(HASH_KEY)
    digest.update(sse)
    at = Times(EPOCH_US, EPOCH_US, EPOCH_US)
    for now, (event, _) in zip(times, steps, strict=True):
        at.saw(event, now)
    return msgspec.structs.replace(
        terminal,
        body_bytes=digest.length,
        body_hash=digest.hexdigest(),
        ttft_us=_first(TOKENS, steps, times),
        first_content_us=_first(CONTENTS, steps, times),
        duration_us=times[-1] - EPOCH_US,
        longest_gap_us=at.longest_gap,
        longest_gap_owner=at.gap_owner,
        own_us=None,  # of this machine
        process=at.process,
    )


def _first(
    wanted: tuple[type[events.StreamEvent], ...], steps: Steps, times: list[int]
) -> int | None:
    """When an event of these types first said anything."""
    said = (
        time - EPOCH_US
        for time, (event, step) in zip(times, steps, strict=True)
        if isinstance(event, wanted) and step.outputs
    )
    return next(said, None)


def _written(
    opened: events.Opened, steps: Steps, times: list[int], terminal: events.Terminal
) -> bytes:
    """The stream's log, as the event log itself writes it."""
    now = [EPOCH_US]
    with tempfile.TemporaryDirectory() as directory:
        settings = LogSettings(Path(directory), "full", "none", max_bytes=0, max_age_s=0)
        event_log = eventlog.EventLog(settings, lambda: now[0])
        event_log.open()
        stream_log = event_log.stream(opened.request_id)
        stream_log.open(opened)
        for time, (event, step) in zip(times, steps, strict=True):
            now[0] = time
            stream_log.append(event, step)
        stream_log.close(terminal, steps[-1][1].state)
        event_log.close()
        _, *lines = (Path(directory) / segments.segment_name(1)).read_bytes().splitlines(True)
        return b"".join(lines)  # a transcript is records alone
