"""`turntape show`: the verdict first, at 80 columns, whatever is in the log."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from machines import events
from server.cli import command_line as cli, printing
from tests.support.logs import logs, told

FINISHED = events.TurnFinished("stop")
HOSTILE = "\x1b[31mred\x1b]0;title\x07\u202edrow\u200f\r\nforged 200 completed\x00漢字" * 9


def show(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the command."""
    status = cli.main(["show", *map(str, arguments)])
    shown = capfd.readouterr()
    return status, shown.out, shown.err


@pytest.fixture
def log(tmp_path: Path) -> Path:
    happened = [*told.texts("Hel", "lo"), (6, events.TimerFired("idle"))]
    return told.write(tmp_path / "log", *happened)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.usefixtures("narrow")
def test_the_verdict_comes_first(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, out, err = show(capfd, "--log", log, "st_1")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "timeout idle_timeout 200 · by the provider"
    assert lines[4] == "  The model stopped sending in the middle of its answer."
    assert lines[5].startswith("  Before its end it was silent for 4.98 s")
    assert "text_delta × 2, 5 characters in 0.020 s: Hello" in out
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", ["st_1", "st_", "req-1", "chatcmpl-1"])
def test_any_name_will_do(log: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    assert show(capfd, "--log", log, name)[0] == 0


def test_what_is_not_there_is_said_with_what_is(
    log: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, out, err = show(capfd, "--log", log, "req_none")
    assert (status, out) == (3, "")
    assert "req_none" in err
    assert "2023-11-14" in err


def test_a_name_of_several_is_of_none(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    event_log = logs.open_log(tmp_path)
    for stream in ("st_a", "st_b"):
        logs.write_stream(event_log, stream)
    event_log.close()
    status, out, err = show(capfd, "--log", tmp_path, "req-1")
    assert (status, out) == (3, "")
    assert "st_a" in err
    assert "st_b" in err


def test_the_timeline_as_json(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = json.loads(show(capfd, "--log", log, "--json", "st_1")[1])
    assert found["ending"]["code"] == "idle_timeout"
    assert found["received"]["characters"] == 5
    assert found["gaps"][0]["owner"] == "worker"


def test_every_record_has_a_line(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = show(capfd, "--log", log, "--all", "st_1")[1].splitlines()
    assert len(lines) == 5
    assert lines[1].split()[:4] == ["1", "1.000", "s", "text_delta"]
    assert '{"text":"Hel"}  content [head role content]' in lines[1]


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("content", ["full", "masked"])
@pytest.mark.parametrize("view", [(), ("--all",), ("--client",), ("--worker",)])
def test_nothing_steers_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: str, view: tuple[str, ...]
) -> None:
    failed = events.TurnFailed("upstream_error", HOSTILE, HOSTILE, word=HOSTILE, detail=HOSTILE)
    happened = [
        (1, events.TextDelta(HOSTILE)),
        (2, events.ToolCalled(HOSTILE, HOSTILE, HOSTILE)),
        (3, events.ModelRerouted(HOSTILE)),
        (4, failed),
    ]
    names: dict[str, Any] = {
        "model": HOSTILE,
        "target": HOSTILE,
        "worker": HOSTILE,
        "request_id": HOSTILE,
    }
    directory = told.write(tmp_path, *happened, content=content, **names)
    status, out, _ = show(capfd, "--log", directory, *view, "st_1")
    assert status == 0
    assert not set(out) & set("\x1b\x07\u202e\u200f\r\x00")
    assert not any(line.startswith("forged") for line in out.splitlines())
    if not view:
        assert max(map(printing.columns, out.splitlines())) <= 80


def test_in_a_pipe_nothing_is_cut_and_on_a_narrow_terminal_lines_fit(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = "m" * 90
    directory = told.write(tmp_path, *told.texts("word " * 40), (2, FINISHED), model=model)
    _, out, _ = show(capfd, "--log", directory, "st_1")
    assert "…" not in out
    assert f"asked     {model} " in out
    monkeypatch.setenv("COLUMNS", "40")
    _, out, _ = show(capfd, "--log", directory, "st_1")
    assert max(map(len, out.splitlines())) <= 40


def test_a_damaged_log_is_told_with_what_is_wrong(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    directory = told.write(tmp_path, *told.texts("a", "b", "c"), (2, FINISHED))
    (segment,) = directory.glob("events-*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join((*lines[:3], *lines[4:])))
    status, out, _ = show(capfd, "--log", segment, "st_1")
    assert status == 2
    assert "records 2 to 2 of this stream are missing" in " ".join(out.split())


def test_in_colour_where_rich_is_there(
    log: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    _, out, _ = show(capfd, "--log", log, "st_1")
    assert "\x1b[" in out
    assert "The model stopped sending" in out
