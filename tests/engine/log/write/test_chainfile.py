"""The chain's file: what is owed to it is written later, and what goes from it is put back."""

import errno
import os
from pathlib import Path

import pytest
import structlog.testing

from engine.log.format import chain
from engine.log.read import segments
from engine.log.write import chainfile, recovery
from tests.support.logs import logs


def read(data: bytes) -> chain.Chain:
    return chain.Chain(Path("chain"), data)


@pytest.fixture
def kept(tmp_path: Path) -> chainfile.ChainFile:
    return chainfile.ChainFile(tmp_path, recovery.recover(tmp_path), 1, syncs=False)


def test_what_cannot_be_written_is_written_with_the_next(
    kept: chainfile.ChainFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / chain.CHAIN
    before = path.read_bytes()
    pwrite = os.pwrite

    def half(fd: int, data: bytes, offset: int) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "no room")
        return pwrite(fd, data[: len(data) // 2], offset)

    first, second = chain.Closed(1, 2, 3, "00000000", 4), chain.Closed(2, 2, 3, "00000000", 4)
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", half)
        with pytest.raises(OSError, match="no room"):
            kept.append(first)
    assert path.read_bytes() == before
    kept.append(second)
    kept.close()
    assert list(read(path.read_bytes()).closed.values()) == [first, second]


def test_a_log_that_something_is_owed_to_is_not_closed(
    kept: chainfile.ChainFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="no room"):
        kept.append(chain.Closed(1, 2, 3, "00000000", 4))
    with pytest.raises(OSError, match="no room"):
        kept.close()
    path = tmp_path / chain.CHECKPOINT
    point = chain.parse_checkpoint(path, path.read_bytes())
    assert isinstance(point, chain.Checkpoint)
    assert point.state is chain.LogEnd.OPEN


def test_a_full_disk_leaves_a_log_that_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = logs.Clock()
    event_log = logs.open_log(tmp_path, clock, segment_bytes=1000)
    logs.write_stream(event_log, "before")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as no_room, structlog.testing.capture_logs() as said:
        no_room.setattr(os, "pwrite", full)
        for number in range(6):
            logs.write_stream(event_log, f"during-{number}")
            logs.wait_for_chores(event_log)
            clock.advance(2)
    assert "event_log_failing" in [line["event"] for line in said]
    for number in range(3):
        clock.advance(2)
        logs.write_stream(event_log, f"after-{number}")
    event_log.close()
    assert len(logs.streams_of(tmp_path)) == 10
    assert event_log.counts.records_lost == 0


@pytest.mark.parametrize("name", ["chain", "checkpoint"])
@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced"])
def test_a_file_that_goes_while_it_is_written_is_put_back(
    tmp_path: Path, name: str, replaced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = logs.Clock()
    event_log = logs.open_log(tmp_path, clock, segment_bytes=1000)
    logs.write_stream(event_log, "before", 20)
    logs.wait_for_chores(event_log)
    monkeypatch.setattr(recovery, "recover", None)  # nothing is read again
    (tmp_path / name).unlink()
    if replaced:
        (tmp_path / name).write_text("somebody else's\n" * 100)
    clock.advance(2)
    with structlog.testing.capture_logs() as said:
        for stream in ("during", "after"):
            logs.write_stream(event_log, stream, 20)
            logs.wait_for_chores(event_log)
            clock.advance(2)
    assert [line["event"] for line in said] == ["event_log_file_restored"]
    assert said[0]["path"] == str(tmp_path / name)
    event_log.close()
    assert list(logs.streams_of(tmp_path)) == ["before", "during", "after"]


@pytest.mark.parametrize("name", ["chain", "checkpoint"])
def test_a_file_that_is_cut_while_it_is_written_is_noticed(tmp_path: Path, name: str) -> None:
    clock = logs.Clock()
    event_log = logs.open_log(tmp_path, clock)
    logs.write_stream(event_log, "before")
    logs.wait_for_chores(event_log)
    os.truncate(tmp_path / name, 0)
    with structlog.testing.capture_logs() as said:
        for stream in ("during", "between", "after"):
            clock.advance(2)
            logs.write_stream(event_log, stream)
            logs.wait_for_chores(event_log)
    event_log.close()
    assert {
        "chain": {"event_log_failing", "event_log_corrupt", "event_log_recovered"},
        "checkpoint": {"event_log_file_restored"},
    }[name] == {line["event"] for line in said}
    reading = segments.read(tmp_path)
    assert {record.stream for record in reading} == {"before", "during", "between", "after"}
    assert {problem.path.name for problem in reading.problems} <= {name}
