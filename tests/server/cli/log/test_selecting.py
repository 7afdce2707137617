"""A name that means nothing, or too much, is said to, with the exit status for it."""

from pathlib import Path

import pytest

from engine.log.find import names
from server import diagnostics
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
