"""What a server's event log and its diagnostics say of the requests that it was asked."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from engine.log import replay
from engine.log.content import digest, mask
from engine.log.read import segments
from machines import events
from server.renderers import reply
from tests.support.client.chatclient import Answer
from tests.support.logs import linecheck
from tests.support.process import machinetime
from tests.support.process.serving import Serve


def story(server: Serve, request_id: str) -> list[segments.LoggedEvent]:
    """What has happened to a request so far, as the log has it."""
    mine: set[str] = set()
    found: list[segments.LoggedEvent] = []
    for record in segments.read(server.log_dir):
        if record.event != "opened" and record.stream not in mine:
            continue
        event = record.load()
        if isinstance(event, events.Opened) and event.request_id == request_id:
            mine.add(record.stream)
        if record.stream in mine:
            found.append(event)
    return found


def wait_for_text(server: Serve, request_id: str, text: str) -> None:
    """Wait until a request's answer has come as far as this."""
    machinetime.until(lambda: "".join(_texts(story(server, request_id))) == text)


def _texts(happened: list[segments.LoggedEvent]) -> Iterator[str]:
    return (event.text for event in happened if isinstance(event, events.TextDelta))


def has_ended(server: Serve, request_id: str) -> bool:
    """Whether a request has its terminal record."""
    happened = story(server, request_id)
    return any(isinstance(event, events.Terminal) for event in happened)


def terminal(server: Serve, request_id: str) -> events.Terminal:
    """The terminal record of a request, which there is once, and whose log replays."""
    reading = segments.read(server.log_dir)
    run = replay.Replay(reply, request_id)
    run.run(reading)
    assert run.divergence is None, run.divergence
    corrupt = [problem for problem in reading.problems if problem.kind == "corrupt"]
    assert corrupt == [], corrupt
    happened = story(server, request_id)
    ends = [event for event in happened if isinstance(event, events.Terminal)]
    assert len(ends) == 1, ends
    assert happened[-1] is ends[0], happened
    return ends[0]


def left(server: Serve, request_id: str) -> events.Terminal:
    """The terminal record of a request whose client left: nothing tells it when that is there."""
    machinetime.until(lambda: has_ended(server, request_id), 1)
    return terminal(server, request_id)


def recorded(server: Serve, answer: Answer) -> events.Terminal:
    """The terminal record of an answer: it knows the bytes that came."""
    last = terminal(server, answer.request_id)
    body = digest.BodyDigest(digest.load_key(server.log_dir))
    body.update(answer.raw)
    assert (last.status, last.body_bytes) == (answer.status, len(answer.raw))
    assert last.body_hash == body.hexdigest()
    return last


def _words(value: object) -> Iterator[str]:
    """Every text within a line of diagnostics."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _words(part)
    elif isinstance(value, list):
        for part in value:
            yield from _words(part)


def _moment_us(line: dict[str, Any]) -> int:
    """When a line of diagnostics was written, in microseconds since the epoch."""
    return round(datetime.fromisoformat(line["timestamp"]).timestamp() * 1_000_000)


def check_traces(server: Serve) -> None:
    """Every stream and every refusal that a stopped server has in its log has one line of its
    diagnostics, and each line says of a failure what the log says."""
    lines = [line for line in server.lines if line.get("component") == "access"]
    own = [line for line in server.lines if "timestamp" in line]  # others are of other programs
    began_us = min(map(_moment_us, own), default=0)
    # Of a log that was there before, the part of this server.
    records = [each for each in server.records() if each["t"] >= began_us]
    streams = {each["stream"] for each in records if each["event"] == "opened"}
    told = [line["stream"] for line in lines if "stream" in line]
    ended = {each["stream"]: each for each in server.terminals() if each["stream"] in streams}
    recovered = {name for name, each in ended.items() if each["emission_trigger"] == "recovery"}
    # What was recorded while the disk was gone is lost; the lines are not.
    assert len(told) == len(set(told)), told
    assert streams - recovered <= set(told), (told, streams)
    for line in lines:
        terminal = ended.get(line.get("stream", ""))
        if terminal is not None:
            assert line["kind"] == terminal["kind"]
            code = terminal.get("code") or ""
            if mask.mask_code(code) == code:  # a code that is a sentence is masked and scrubbed
                assert line.get("code", "") == code
    refused = sum(
        line.get("count", 1) for line in lines if "stream" not in line and "code" in line
    )
    rejected = [each for each in records if each["event"] == "request_rejected"]
    assert refused >= sum(each.get("count", 1) for each in rejected)


def audit(server: Serve, *hidden: str, said: tuple[str, ...] = ()) -> None:
    """End a server, and look whether all was well with it, whatever its streams went through.

    Args:
        hidden: what must be in no line of its diagnostics.
        said: the errors it must have complained of, in any order, and of no others.
    """
    assert server.stop() == 0, server.lines
    done = server.replay()
    assert done.returncode == 0, done.stdout
    assert re.findall(r"(\d+) without an end", done.stdout) in ([], ["0"]), done.stdout
    check_traces(server)
    assert linecheck.unlike(server.lines) == []
    ours = [line for line in server.lines if line.get("event") != "worker_stderr"]
    ours = [line for line in ours if line.get("component") != "access"]  # others' failures too
    complaints = [line for line in ours if line.get("severity") not in ("info", "warning")]
    if "event_log_failing" in said:  # whether usage was to be written meanwhile is chance
        complaints = [line for line in complaints if line.get("event") != "summaries_failing"]
    assert sorted(str(line.get("event")) for line in complaints) == sorted(said), complaints
    # Of words alone: a duration may look like a port.
    lines = [" ".join(_words(line)) for line in server.lines]
    told = [line for line in lines if any(text in line for text in hidden)]
    assert told == [], told
