"""`turntape check`: what it says of a log, and what it ends with."""

import json
from pathlib import Path

import pytest

from engine.log.check import check, children
from engine.log.read import segments
from server.cli import command_line as cli
from tests.engine.log.check import checking
from tests.support.logs import logs
from tests.tools import capture


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checking.write(tmp_path_factory.mktemp("log"))


def run(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, list[str], str]:
    """Exit status, lines and complaints of the command."""
    status = cli.main(["check", *map(str, arguments)])
    said = capfd.readouterr()
    return status, said.out.splitlines(), said.err


def test_what_is_the_same_is_counted(capfd: pytest.CaptureFixture[str]) -> None:
    status, said, err = run(capfd, capture.DIRECTORY)
    assert (status, err) == (0, "")
    count = len(list(capture.DIRECTORY.glob("*.jsonl")))
    assert said[-1].startswith(f"{count} streams, ")
    assert said[-1].endswith(f"same steps; bytes of {count} compared, 0 masked")


@pytest.mark.parametrize("jobs", [(), ("--jobs", "2"), ("--jobs", "0")])
def test_what_differs_is_told_by_cause(
    capfd: pytest.CaptureFixture[str], log: Path, jobs: tuple[str, ...]
) -> None:
    status, said, _ = run(capfd, log, *jobs)
    assert status == 1
    assert said[0] == "3 streams: text_delta in state content"
    assert said[1].split() == ["recorded", "finish", "[content]"]
    assert said[2].split() == ["replayed", "content", "[content]"]
    assert said[5].endswith("turntape show st_03, request req_3")
    assert "2 streams: terminal in state done" in said
    assert any(line.startswith(f"diverged: 5 of {checking.STREAMS - 1} streams") for line in said)
    assert said[-1] == "not compared: 1 without an end"
    assert max(map(len, said[:6])) <= 80


def test_json_has_all_of_it(capfd: pytest.CaptureFixture[str], log: Path) -> None:
    status, said, _ = run(capfd, log, "--json")
    found = json.loads("\n".join(said))
    assert status == 1
    assert (found["diverged"], found["corrupt"], found["unfinished"]) == (5, 0, 1)
    first = found["causes"][0]
    assert (first["count"], first["event"], first["state"]) == (3, "text_delta", "content")
    assert first["example"]["stream"] == "st_03"
    assert first["example"]["rows"][-1]["recorded"] == "finish [content]"
    assert found["problems"] == []


@pytest.mark.parametrize("name", ["st_09", "req_9"])
def test_one_stream_is_checked_by_any_of_its_names(
    capfd: pytest.CaptureFixture[str], log: Path, name: str
) -> None:
    status, said, _ = run(capfd, name, "--log", log)
    assert status == 1
    assert said[0] == "1 stream: text_delta in state content"
    status, said, _ = run(capfd, name.replace("9", "10").replace("010", "10"), "--log", log)
    assert status == 0
    assert said[-1].startswith("1 stream, ")


def test_what_is_not_there_is_said(capfd: pytest.CaptureFixture[str], log: Path) -> None:
    status, said, err = run(capfd, "st_nobody", "--log", log)
    assert (status, said) == (3, [])
    assert "nothing is called st_nobody" in err
    status, _, err = run(capfd, log / "nothing")
    assert status == 1
    assert "nothing" in err


def test_a_corrupt_log_is_never_said_to_have_diverged(
    capfd: pytest.CaptureFixture[str], log: Path, tmp_path: Path
) -> None:
    copy = logs.left_behind(log)
    path = segments.list_segments(copy)[-1].path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for jobs in ("1", "2"):
        status, said, _ = run(capfd, copy, "--jobs", jobs)
        assert status == 2
        assert str(path) in said[0]
        assert any(line.startswith("corrupt: ") for line in said)
        assert not any("diverged" in line for line in said)


def test_the_death_of_a_child_is_said(
    capfd: pytest.CaptureFixture[str], log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise children.ChildDied(-9)

    monkeypatch.setattr(check, "check", dies)
    status, said, err = run(capfd, log, "--jobs", "2")
    assert (status, said) == (1, [])
    assert "ended by signal 9, before it was done" in err


@pytest.mark.parametrize("jobs", ["-1", "65", "many"])
def test_jobs_that_cannot_be_are_refused(capfd: pytest.CaptureFixture[str], jobs: str) -> None:
    assert run(capfd, "--jobs", jobs)[0] == 2


def test_a_word_with_a_slash_is_a_path_and_others_are_ids(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, log: Path
) -> None:
    monkeypatch.setenv("PROXY_LOG_DIR", str(log))
    assert run(capfd, "st_10")[0] == 0
    assert run(capfd)[0] == 1
    monkeypatch.chdir(log.parent)
    assert run(capfd, log.name)[0] == 1
