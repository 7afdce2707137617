"""`turntape test`: a stream becomes a test that passes on good code and shows a bug."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from engine.log.read import segments
from machines import events, outputs
from machines.stream import machine as stream
from server.cli import command_line as cli
from tests.engine.log.derive import logsforderiving as deriving
from tests.server.cli.log import asked
from tests.support.logs import logs, summaries
from tests.tools import capture


def run(*arguments: str | Path) -> int:
    return cli.main(["test", *map(str, arguments)])


def source(name: str) -> Path:
    return capture.DIRECTORY / f"{name}.jsonl"


def pytest_of(directory: Path, *, expected: int) -> str:
    """What pytest says of the tests in a directory, from that directory."""
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q")
    # They need no plugin, and to load all that are here takes half of the time.
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=directory, env=environ, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["text-short", "rate-limit", "responses-text", "client-gone"])
def test_its_files_are_the_stream_and_the_bytes_that_were_recorded(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(name, "--log", source(name), "-o", tmp_path / "made", "--name", "case") == 0
    assert {path.name for path in (tmp_path / "made").iterdir()} == {
        *("case.jsonl", "case.sse", "test_case.py"),
    }
    recorded = source(name).with_suffix(".sse").read_bytes()
    assert (tmp_path / "made" / "case.sse").read_bytes() == recorded
    assert "whose hash is the recorded one" in " ".join(capfd.readouterr().out.split())
    assert run("--run", tmp_path / "made" / "case.jsonl") == 0
    assert "the same steps, the same bytes" in capfd.readouterr().out


def test_pytest_runs_it_in_a_project_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()  # a name of ours, which the project has too
    (tmp_path / "server" / "__init__.py").write_text("raise ImportError('not this one')\n")
    assert run("use-tool-json", "--log", source("use-tool-json"), "-o", tmp_path) == 0
    assert run("stop-sequence", "--log", source("stop-sequence"), "-o", tmp_path) == 0
    expected = tmp_path / "stop_sequence.sse"
    expected.write_bytes(expected.read_bytes().replace(b"boil", b"soil"))
    said = pytest_of(tmp_path, expected=1)
    assert "1 failed, 1 passed" in said
    assert "stop_sequence.sse: " in said
    assert "soil" in said.partition("recorded  ")[2]
    assert "boil" in said.partition("today  ")[2]


def test_of_masked_texts_steps_are_compared_and_it_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("use-tool-xml", "--log", source("use-tool-xml"), "-o", tmp_path, "--mask") == 0
    assert "steps are compared, not bytes" in " ".join(capfd.readouterr().out.split())
    assert not (tmp_path / "use_tool_xml.sse").exists()
    assert run("--run", tmp_path / "use_tool_xml.jsonl") == 0
    assert "texts are masked: bytes not compared" in capfd.readouterr().out


def _longer(output: outputs.AnyOutput) -> outputs.AnyOutput:
    if isinstance(output, outputs.Content):
        return outputs.Content(output.text + " ", output.choice)
    return output


def plant(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug: every text gets a blank too many."""
    real = stream.Stream._text

    def wrong(*arguments: object) -> outputs.Step:
        step = real(*arguments)  # type: ignore[arg-type] # as it was called
        return msgspec.structs.replace(step, outputs=tuple(map(_longer, step.outputs)))

    monkeypatch.setitem(stream._STEPS, events.TextDelta, wrong)


def test_a_bug_is_shown_and_no_bytes_are_made_up_for_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "before"
    assert run("text-short", "--log", source("text-short"), "-o", made) == 0
    with monkeypatch.context() as patched:
        plant(patched)
        assert run("--run", made / "text_short.jsonl") == 1
        said = capfd.readouterr().out
        assert "diverged: stream text-short" in said
        assert "text_short.sse: " in said
        later = tmp_path / "later"
        assert run("text-short", "--log", source("text-short"), "-o", later) == 0
        assert "none are written down" in " ".join(capfd.readouterr().out.split())
        assert not (later / "text_short.sse").exists()
        assert run("--run", later / "text_short.jsonl") == 1
    for directory in (made, later):
        assert run("--run", directory / "text_short.jsonl") == 0


def test_a_damaged_transcript_is_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("text-short", "--log", source("text-short"), "-o", tmp_path) == 0
    path = tmp_path / "text_short.jsonl"
    path.write_bytes(path.read_bytes().replace(b"text_delta", b"text_dalta", 1))
    assert run("--run", path) == 2
    assert "corrupt" in capfd.readouterr().out


def test_files_are_replaced_only_by_force(tmp_path: Path) -> None:
    arguments = ("text-short", "--log", source("text-short"), "-o", tmp_path)
    assert run(*arguments) == 0
    (tmp_path / "test_text_short.py").write_text("mine")
    assert run(*arguments) == 2
    assert (tmp_path / "test_text_short.py").read_text() == "mine"
    assert run(*arguments, "--force") == 0
    assert (tmp_path / "test_text_short.py").read_text() != "mine"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("nothing", "-o", "x"), 3),
        (("text-short",), 2),
        ((), 2),
        (("text-short", "-o", "x", "--name", "a/b"), 2),
    ],
)
def test_what_cannot_be_made(arguments: tuple[str, ...], status: int, tmp_path: Path) -> None:
    shutil.copy(source("text-short"), tmp_path / "log.jsonl")
    log = ("--log", tmp_path / "log.jsonl") if arguments else ()
    assert run(*arguments, *log) == status


def test_a_stream_without_an_end_makes_no_test(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path / "log", content="full")
    deriving.play(event_log, 1, ends=False)
    event_log.close()
    assert list(segments.read(tmp_path / "log"))
    assert run("st_0001", "--log", tmp_path / "log", "-o", tmp_path / "made") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a stream, and where its test goes: turntape test ID -o DIR"),
        (("text-short",), "-o DIR is missing"),
        (("text-short", "-o", "x", "--run", "y"), "--run takes the transcript of a test alone"),
        (("--run", "."), "--run .: is a directory; it takes the NAME.jsonl of a test in it"),
    ],
)
def test_what_is_missing_is_said(
    arguments: tuple[str, ...], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    assert capfd.readouterr().err.startswith(f"turntape: {said}")


def test_a_request_that_was_refused_has_no_steps_to_test(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    event_log = logs.open_log(tmp_path / "log", **summaries.KEPT)
    summaries.reject(event_log, "req_1")
    event_log.close()
    assert run("req_1", "--log", tmp_path / "log", "-o", tmp_path / "made") == 1
    what, step = capfd.readouterr().err.splitlines()
    assert "is no stream but a request that was refused: it has no steps to test" in what
    assert step.startswith("turntape: `turntape show rj_")
    assert not (tmp_path / "made").exists()


def test_it_says_why_bytes_are_not_compared(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked.write(tmp_path / "log", {})
    assert run("st_0000", "--log", tmp_path / "log", "-o", tmp_path / "made") == 0
    assert "Its texts are masked in the log, so steps are compared" in capfd.readouterr().out
