"""`turntape show`: the verdict first, at 80 columns, whatever is in the log."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from machines import events
from server.cli import command_line as cli, printing
from server.cli.log import picture
from tests.support.logs import gallery, logs, told

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


SCREENS = {
    "silent": ("by the provider", "stopped sending in the middle", "silent for 30.0 s"),
    "broken": ("by the provider", "connection broke off", "a network between"),
    "left": ("by the client", "while its answer was coming", "a user stopped it"),
    "hurried": ("by the client", "20 ms after its request, before anything had come"),
    "spent": ("by the provider", "usage limit at the provider is spent"),
    "exited": ("by the worker", "process ended"),
    "late": ("by the provider", "no output within the time limit", "PROXY_FIRST_CHUNK"),
    "limited": ("by the provider", "rate limit for the account", "left alone for 20 s"),
    "busy": ("by the worker", "at its turn limit", "add workers", "429"),
    "drained": ("by the server", "The server was stopping", "PROXY_DRAIN_TIMEOUT_MS"),
    "unreachable": ("by the provider", "could not be connected to", "resolves", "3 attempts"),
    "too_long": ("by the client", "prompt is too long"),
    "image": ("by the client", "`invalid_image` (status 400)", "`messages[0].content[1]`"),
    "half_call": ("completed length 200", "cut at a limit of tokens", "write_file"),
    "filtered": ("by the provider", "filter ended the answer", "content_filter"),
    "slow_client": ("by the client", "stopped reading", "the client did not read"),
    "killed": ("by the server", "process ended while the stream was open", "who killed it"),
    "good": ("completed 200", "The answer is whole"),
}
"""Words of the first screen for each story of the gallery, on a masked log."""

ROWS = 24


@pytest.mark.parametrize("name", SCREENS)
def test_the_first_screen_names_the_cause(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setenv("COLUMNS", str(picture.COLUMNS))
    written = gallery.Gallery(tmp_path, "masked")
    worker = "codex" if name not in OF_UPSTREAM else "upstream"
    written.add("st_1", gallery.STORIES[name], worker=worker, model="m", target="m")
    written.close()
    if name == "killed":
        logs.open_log(tmp_path, written.clock).close()  # the next start
        capfd.readouterr()
    shown = show(capfd, "--log", tmp_path, "st_1")[1].splitlines()[:ROWS]
    screen = " ".join(" ".join(shown).split())
    for words in SCREENS[name]:
        assert words in screen, "\n".join(shown)
    assert ("nothing went wrong" in screen) == (name == "good")
    assert max(map(printing.columns, shown)) <= picture.COLUMNS


OF_UPSTREAM = ("limited", "unreachable", "image", "half_call", "filtered")


def test_every_story_that_goes_wrong_has_its_words() -> None:
    assert SCREENS.keys() == gallery.STORIES.keys() - {"thinking", "call", "retried"}


LOADS = """
import sys
from server.cli import command_line
command_line.main(sys.argv[1:])
print(*sorted(sys.modules), file=sys.stderr)
"""

MOST_LOADED = 140
"""Modules that `show` loads beside those of `--version`: with 132 it took 0.08 s of CPU more."""


def loaded(*arguments: str) -> set[str]:
    """The modules that a command leaves behind."""
    done = subprocess.run(
        [sys.executable, "-c", LOADS, *arguments], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("view", [(), ("--all",), ("--worker",)])
def test_it_loads_little(log: Path, view: tuple[str, ...]) -> None:
    found = loaded("show", "--log", str(log), *view, "st_1") - loaded("--version")
    assert not found & {"asyncio", "statemachine", "structlog", "server.renderers", "shutil"}
    assert len(found) <= MOST_LOADED, sorted(found)
