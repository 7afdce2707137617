"""`turntape diff`: a bad stream beside a good one."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from machines import events
from machines.stream.machine import Stream
from server.cli import command_line as cli
from tests.support.logs import logs

FAILED = events.TurnFailed("upstream_error", "upstream_disconnected", "No.")
FINISHED = events.TurnFinished("stop")


def add(
    event_log: Any,
    clock: logs.Clock,
    name: str,
    *last: Any,
    pace: float = 0.5,
    status: int = 200,
    **fields: Any,
) -> None:
    """Write one stream of a text and what follows, an event in so many seconds."""
    first = logs.opened(request_id=f"req_{name}", completion_id=f"chatcmpl-{name}", **fields)
    written, machine = event_log.stream(f"st_{name}"), Stream(first)
    written.open(first)
    for event in (events.TextDelta("Hello"), *last):
        clock.advance(pace)
        written.append(event, machine.step(event))
    choice = machine.choices[0]
    code = machine.failure.code if machine.failure is not None else None
    ended = events.Terminal(
        kind=machine.kind or "defect",
        emission_trigger=machine.emission_trigger,
        status=status,
        code=code,
        finish_reasons=(choice.reason,),
    )
    written.close(ended, choice.state)
    event_log.flush()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    clock = logs.Clock()
    event_log = logs.open_log(tmp_path, clock)
    add(event_log, clock, "early", FINISHED)
    add(event_log, clock, "whole", FINISHED)
    add(event_log, clock, "other", FINISHED, model="another")
    add(event_log, clock, "cut", events.TurnFinished("length"))
    add(event_log, clock, "bad", FAILED)
    add(event_log, clock, "folded", FINISHED, streaming=False)
    event_log.close()
    return tmp_path


def diff(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the command."""
    status = cli.main(["diff", *map(str, arguments)])
    shown = capfd.readouterr()
    return status, shown.out, shown.err


def test_the_nearest_good_one_of_its_kind_is_chosen(
    log: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = diff(capfd, "--log", log, "st_bad")
    assert status == 1
    lines = out.splitlines()
    assert lines[:2] == [
        "bad   st_bad  upstream_error upstream_disconnected",
        "good  st_whole  completed",
    ]
    text = " ".join(out.split())
    assert "the same model, endpoint, streaming, n, effort, worker" in text
    assert "The provider's connection broke off before the answer was complete." in text
    assert "Before its end, at 1.00 s, nothing that matters was another" in text
    assert max(map(len, lines)) <= 80


def test_in_a_pipe_nothing_is_cut_and_on_a_narrow_terminal_values_stand_below_each_other(
    log: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out, _ = diff(capfd, "--log", log, "st_bad")
    assert "…" not in out
    assert "  bad                   upstream_error upstream_disconnected" in out
    assert "finish                  none                        stop" in out
    monkeypatch.setenv("COLUMNS", "40")
    _, out, _ = diff(capfd, "--log", log, "st_bad")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 40
    at = lines.index("finish")
    assert lines[at : at + 3] == ["finish", "  bad   none", "  good  stop"]


def test_one_that_is_named_is_taken(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, out, _ = diff(capfd, "--log", log, "--json", "st_bad", "req_early")
    found = json.loads(out)
    assert (status, found["bad"], found["good"]) == (1, "st_bad", "st_early")
    assert [each["aspect"] for each in found["differences"]] == [
        "states",
        "finish",
        "ending",
    ]


def first_words(out: str) -> str:
    """The sentences that say where the two parted."""
    return " ".join(out.split("\n\n")[1].split())


def test_a_short_stream_is_compared_as_a_long_one_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clock = logs.Clock()
    event_log = logs.open_log(tmp_path, clock)
    retried = events.RetryScheduled(1, 1, "upstream_error")
    add(event_log, clock, "good", FINISHED, pace=0.01)
    add(event_log, clock, "again", retried, FAILED, pace=0.01)
    request = msgspec.Raw(b'{"temperature":2}')
    add(event_log, clock, "asked", FAILED, pace=0.01, request=request, content="full")
    add(event_log, clock, "status", FAILED, pace=0.01, status=502)
    event_log.close()
    _, out, _ = diff(capfd, "--log", tmp_path, "st_again", "st_good")
    assert first_words(out).startswith("First in time: attempts, at 0.020 s:")
    _, out, _ = diff(capfd, "--log", tmp_path, "st_asked", "st_good")
    assert first_words(out) == "Asked otherwise, or of no time: option temperature."
    _, out, _ = diff(capfd, "--log", tmp_path, "st_status", "st_good")
    assert first_words(out).startswith("Before its end, at 0.020 s, nothing that matters")


def test_two_that_are_alike_end_with_0(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, out, _ = diff(capfd, "--log", log, "st_whole", "st_early")
    assert (status, out.splitlines()[-1]) == (0, "Nothing that matters differs.")


def test_a_flag_that_no_good_one_shares_is_said(
    log: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = diff(capfd, "--log", log, "st_folded")
    assert "None has the same streaming too." in " ".join(out.split())


def test_where_there_is_none_that_is_said(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, _, err = diff(capfd, "--log", log, "st_other")
    assert (status, "no stream of this log is whole" in err) == (3, True)


def test_a_refusal_has_no_answer_to_compare(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    event_log = logs.open_log(tmp_path)
    refused = events.RequestRejected(request_id="req_1", code="model_not_found", status=404)
    event_log.stream("rj_1").close(refused, "rejected")
    add(event_log, logs.Clock(), "bad", FAILED)
    event_log.close()
    for names in (["rj_1"], ["rj_1", "st_bad"], ["st_bad", "rj_1"]):
        status, out, err = diff(capfd, "--log", tmp_path, *names)
        assert (status, out) == (3, "")
        assert "rj_1 has no answer to compare: `turntape show rj_1` says why" in err
