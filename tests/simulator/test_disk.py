"""The disk under a run's log: its faults, its helper's time, and what a kill would leave."""

import errno
import os
from pathlib import Path

import pytest

from tests.simulator import clock, disk


def opened(path: Path, under: disk.Disk) -> int:
    return under.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR)


def test_a_disk_without_a_fault_is_the_systems(tmp_path: Path) -> None:
    under = disk.Disk()
    fd = opened(tmp_path / "file", under)
    assert (under.write(fd, b"hello"), under.pwrite(fd, b"J", 0)) == (5, 1)
    under.close(fd)
    assert ((tmp_path / "file").read_bytes(), under.faults) == (b"Jello", 0)


@pytest.mark.parametrize(("fault", "number"), [("full", errno.ENOSPC), ("broken", errno.EIO)])
def test_a_full_or_broken_disk_writes_nothing(
    tmp_path: Path, fault: disk.DiskFault, number: int
) -> None:
    under = disk.Disk()
    fd = opened(tmp_path / "file", under)
    under.fault = fault
    with pytest.raises(OSError, match="simulated") as found:
        under.write(fd, b"hello")
    os.close(fd)
    assert (found.value.errno, under.faults) == (number, 1)
    assert (tmp_path / "file").read_bytes() == b""


def test_a_disk_that_writes_short_takes_the_first_half(tmp_path: Path) -> None:
    under = disk.Disk()
    fd = opened(tmp_path / "file", under)
    under.fault = "short"
    assert under.write(fd, b"hello!") == 3
    os.close(fd)
    assert (tmp_path / "file").read_bytes() == b"hel"


def test_a_broken_disk_makes_no_new_file_and_opens_old_ones(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    under = disk.Disk()
    under.fault = "broken"
    with pytest.raises(OSError, match="simulated"):
        opened(tmp_path / "new", under)
    os.close(under.open(tmp_path / "old", os.O_RDWR))


def test_the_helper_does_one_chore_after_the_other_each_in_its_time() -> None:
    loop = clock.VirtualLoop()
    helper = disk.Helper(loop, delay=2.0)
    times: list[float] = []

    def chore() -> None:
        times.append(round(loop.time(), 3))

    first, second = helper.submit(chore), helper.submit(chore)
    loop.call_later(5, loop.stop)
    loop.run_forever()
    loop.close()
    assert (times, first.done(), second.done()) == ([2.0, 4.0], True, True)


def test_a_helper_that_is_shut_down_has_done_all_and_says_what_failed() -> None:
    loop = clock.VirtualLoop()
    helper = disk.Helper(loop, delay=2.0)
    done: list[str] = []

    def fail() -> None:
        raise OSError("bad")

    failed, fine = helper.submit(fail), helper.submit(done.append, "fine")
    helper.shutdown()
    loop.close()
    assert (done, fine.done(), str(failed.exception())) == (["fine"], True, "bad")


def test_a_snapshot_is_the_logs_files_and_no_others(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    for name in ("events-00000001.jsonl", "chain", "checkpoint", "lock"):
        (log / name).write_text(name)
    disk.snapshot(log, tmp_path / "left")
    left = {path.name: path.read_text() for path in (tmp_path / "left").iterdir()}
    assert left == {name: name for name in ("events-00000001.jsonl", "chain", "checkpoint")}
