"""A name that means nothing, or too much, is said to, with the exit status for it."""

from pathlib import Path

import pytest

from engine.log.find import names
from server import diagnostics
from server.cli import command_line as cli
from server.cli.log import selecting
from tests.engine.log.derive import logsforderiving as deriving
from tests.support.logs import logs


@pytest.fixture
def log(tmp_path: Path) -> Path:
    deriving.write(tmp_path / "log", streams=2)
    return tmp_path / "log"


def test_any_of_its_names_gives_a_stream_once(log: Path) -> None:
    found = selecting.select(log, ["req_1", "st_0001", "chatcmpl-0"])
    assert [story.stream for story in found] == ["st_0001", "st_0000"]


def test_what_is_not_there_and_what_is_several_is_said_by_the_command_line(log: Path) -> None:
    with pytest.raises(names.NotFound):
        selecting.select(log, ["req_9"])
    with pytest.raises(names.Ambiguous):
        selecting.select(log, ["st_"])


def test_damage_elsewhere_in_a_file_is_a_warning(
    log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "alone.jsonl"
    path.write_bytes((log / "events-00000001.jsonl").read_bytes())
    logs.rewrite(path, 1, lambda members: members.update(seg=7))
    selecting.warn_of_damage(selecting.select(path, ["st_0001"]))
    diagnostics.flush()
    assert "warning: " in capfd.readouterr().err


READERS: dict[str, tuple[str, ...]] = {
    "show": (),
    "diff": ("st_0001",),
    "play": ("--speed", "0"),
    "check": (),
    "export": ("-o", "-"),
    "test": ("-o", "made"),
}
"""Commands that read one stream, and what else they need."""


def run(command: str, path: Path, capfd: pytest.CaptureFixture[str]) -> tuple[int, str, list[str]]:
    status = cli.main([command, "st_0000", *READERS[command], "--log", str(path)])
    said = capfd.readouterr()
    return status, said.out, said.err.splitlines()


@pytest.mark.parametrize("command", READERS)
def test_a_stream_of_a_later_version_is_1_and_said_to_be(
    command: str, log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "alone.jsonl"
    path.write_bytes((log / "events-00000001.jsonl").read_bytes())
    logs.rewrite(path, 1, lambda members: members.update(schema=99))
    status, out, said = run(command, path, capfd)
    assert (status, out) == (1, "")
    assert said[0].startswith("turntape: st_0000: a later version wrote it")
    assert len(said) == 2


@pytest.mark.parametrize("command", ["show", "diff", "play", "check"])
def test_a_stream_of_which_nothing_is_intact_is_2_with_what_is_wrong(
    command: str, log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "alone.jsonl"
    lines = (log / "events-00000001.jsonl").read_bytes().splitlines(keepends=True)
    hurt = [
        line.replace(b'"event":', b'"Event":') if b'"st_0000"' in line else line for line in lines
    ]
    path.write_bytes(b"".join(hurt))
    status, out, said = run(command, path, capfd)
    assert (status, out) == (2, "")
    assert said[0] == "turntape: st_0000: no record of it is intact"
    assert "corrupt: its checksum does not fit" in said[1]
    assert len(said) == 1 + selecting.TOLD_MOST
