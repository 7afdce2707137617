"""What `python -m tests.tools.capture` calls a difference, and what it makes even before it
compares."""

import re
import shutil
from pathlib import Path

import msgspec
import pytest

from engine.log.read import segments
from machines import events
from machines.stream import machine as stream
from tests.support.logs.logs import Clock, open_log, streams_of
from tests.tools import capture, normalise


def on_file(name: str) -> normalise.Transcript:
    """A transcript as it is on file: what a capture is that finds nothing new."""
    paths = (capture.DIRECTORY / f"{name}.{suffix}" for suffix in capture.SUFFIXES)
    return normalise.Transcript(*(path.read_bytes() for path in paths))


def test_what_is_on_file_is_no_difference() -> None:
    assert capture.difference("usage-on", on_file("usage-on"), capture.DIRECTORY) == []


def test_another_version_is_no_difference() -> None:
    before = on_file("usage-on")
    jsonl = re.sub(rb'"codex":"[\d.]+"', b'"codex":"9.9.9"', before.jsonl)
    assert jsonl != before.jsonl
    after = msgspec.structs.replace(before, jsonl=jsonl)
    assert capture.difference("usage-on", after, capture.DIRECTORY) == []


def test_a_changed_word_is_shown_in_each_file() -> None:
    before = on_file("usage-on")
    files = (getattr(before, suffix) for suffix in capture.SUFFIXES)
    after = normalise.Transcript(*(file.replace(b"Paris", b"Lyon") for file in files))
    lines = capture.difference("usage-on", after, capture.DIRECTORY)
    changed = [line for line in lines if line[:1] in "+-" and ("Paris" in line or "Lyon" in line)]
    assert [line[0] for line in changed] == ["-", "+"] * 3
    assert "+++ usage-on.sse captured" in lines


def test_what_is_not_on_file_is_a_difference(tmp_path: Path) -> None:
    lines = capture.difference("usage-on", on_file("usage-on"), tmp_path)
    assert lines == [f"missing: usage-on.{suffix}" for suffix in capture.SUFFIXES]


def test_a_required_file_that_is_gone_is_missed(tmp_path: Path) -> None:
    corpus = shutil.copytree(capture.DIRECTORY, tmp_path / "transcripts")
    assert capture.missing(corpus) == []
    (corpus / "length.sse").unlink()
    assert capture.missing(corpus) == ["missing: length.sse"]


def test_a_scenario_that_nobody_described_is_missed(capsys: pytest.CaptureFixture[str]) -> None:
    assert capture.main(["no-such"]) == 1
    assert capsys.readouterr().out == "missing: a scenario no-such\n"


def test_which_of_two_turns_began_first_makes_no_difference(tmp_path: Path) -> None:
    first, *between, last = segments.read(capture.DIRECTORY / "two-choices.jsonl")
    opened, terminal = first.load(), last.load()
    assert isinstance(opened, events.Opened)
    assert isinstance(terminal, events.Terminal)
    swapped = []
    for record in between:
        event = record.load()
        assert isinstance(event, events.StreamInput)
        swapped.append(msgspec.structs.replace(event, choice=1 - getattr(event, "choice", 0)))
    spoken = next(n for n, event in enumerate(swapped) if isinstance(event, events.TextDelta))
    begun = sorted(swapped[:spoken], key=lambda event: getattr(event, "choice", 0))
    event_log = open_log(tmp_path, Clock(), content="full")
    stream_log, machine = event_log.stream("st_1"), stream.Stream(opened)
    stream_log.open(opened)
    for event in (*begun, *swapped[spoken:]):
        stream_log.append(event, machine.step(event))
    stream_log.close(terminal, "done")
    event_log.close()
    ((_, records),) = streams_of(tmp_path).items()
    assert normalise.transcript("two-choices", records, 20) == on_file("two-choices")


@pytest.mark.codex
def test_the_real_binary_still_says_what_is_on_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["unicode-split", "stop-sequence", "two-choices", "worker-killed"]
    names += ["tool-calls-parallel", "use-tool-unclosed-client-gone"]
    assert capture.main([*names, "--artifacts", str(tmp_path)]) == 0, capsys.readouterr().out
    report = (tmp_path / "report.txt").read_text("utf-8")
    assert report.splitlines() == [f"{name}: the same" for name in names]
    for side in ("captured", "expected"):
        kept = {path.name for path in (tmp_path / side).iterdir()}
        assert kept == {f"{name}.{suffix}" for name in names for suffix in capture.SUFFIXES}
