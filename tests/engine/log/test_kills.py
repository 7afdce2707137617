"""A process may be killed between any two of its system calls: what it leaves is whole.

Each system call by which the log changes something is a place where the process ends here. What
is on file then must read as a log of which nothing is wrong, with everything that was flushed;
and the next start must go on with it, and may be killed as well.
"""

import collections
import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, ClassVar

import pytest

from engine.log import event_log as eventlog
from engine.log.read import segments
from engine.log.write import chainfile, compressor, writer as segmentwriter
from machines import events
from tests.support.logs import logs

pytestmark = pytest.mark.slow

CHANGES = (
    "open",
    "write",
    "pwrite",
    "ftruncate",
    "replace",
    "unlink",
    "mkdir",
    "utime",
)
"""Functions of `os` by which the log changes what is on file."""


class Killed(BaseException):
    """Raised in place of a system call that is never made."""


class Helper:
    """Stands for the log's helper thread: does its chores when it is let."""

    chores: ClassVar[collections.deque[Callable[[], object]]] = collections.deque()

    def __init__(self, *_: object) -> None:
        self.chores.clear()

    def submit(self, chore: Callable[..., object], *arguments: object) -> Future[object]:
        done: Future[object] = Future()
        self.chores.append(lambda: done.set_result(chore(*arguments)))
        if chore.__name__ == "_recover":  # which the log waits for
            self.work()
        return done

    @classmethod
    def work(cls) -> None:
        while cls.chores:
            cls.chores.popleft()()

    def shutdown(self) -> None:
        self.work()


class Reaper:
    """Kills the process before one of its system calls.

    Attributes:
        calls: how many were made.
        last: how many are allowed.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self.last = 1 << 30
        self._open = os.open
        self._opened: list[int] = []
        for name in CHANGES:
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))
        monkeypatch.setattr(os, "fsync", self._counted(lambda _: None))  # nobody cuts the power

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            if self.calls >= self.last:
                raise Killed
            self.calls += 1
            result = function(*arguments, **options)
            if function is self._open:
                self._opened.append(result)
            return result

        return counted

    def run(self, life: Callable[[], object], last: int) -> bool:
        """Whether a life came to its own end within so many calls."""
        self.calls, self.last = 0, last
        self._opened.clear()
        try:
            life()
        except Killed:
            for fd in self._opened:  # with them the lock goes
                with contextlib.suppress(OSError):
                    os.close(fd)
            return False
        finally:
            self.last = 1 << 30
        return True


class AtOnce:
    """Stands for the thread that compresses: does its chores as they come."""

    def __init__(self, *_: object) -> None:
        pass

    def submit(self, chore: Callable[[], object]) -> None:
        chore()

    def shutdown(self) -> None:
        pass


@pytest.fixture
def reaper(monkeypatch: pytest.MonkeyPatch) -> Reaper:
    monkeypatch.setattr(segmentwriter, "ThreadPoolExecutor", Helper)
    monkeypatch.setattr(segmentwriter, "SYNC_INTERVAL_S", 0.0)
    monkeypatch.setattr(compressor, "ThreadPoolExecutor", AtOnce)
    monkeypatch.setattr(compressor, "SHARE", 1.0)
    return Reaper(monkeypatch)


class Life:
    """What a process does with a log: three streams over several segments, of which the oldest go.

    Args:
        lags: whether the helper thread comes to nothing until the log is closed.
        ends: whether every stream has its end.

    Attributes:
        flushed: how many deltas of each stream are on file for certain.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        lags: bool = False,
        ends: bool = False,
        **settings: Any,
    ) -> None:
        self.flushed: dict[str, int] = {}
        self._lags = lags
        self._ends = ends
        self._name = name
        self._clock = logs.Clock()
        self._log = eventlog.EventLog(
            logs.settings(
                directory,
                **{"content": "full", "segment_bytes": 1200, "max_bytes": 4500, **settings},
            ),
            self._clock,
        )

    def __call__(self) -> None:
        self._log.open()
        for number in range(3):
            stream_id = f"{self._name}-{number}"
            stream = logs.begin(self._log, stream_id)
            for count in range(3):
                stream.append(*logs.content(f"{count} {'x' * 100}"))
                self._log.flush()
                self._clock.advance(1)
                self.flushed[stream_id] = count + 1
                if not self._lags:
                    Helper.work()
            if number % 2 or self._ends:
                stream.close(logs.TERMINAL, "done")
        self._log.close()


def check_left(directory: Path, *lives: Life) -> None:
    """What a killed process leaves is whole, and a start goes on with it."""
    found = texts_of(directory)
    left = segments.examine(directory)[1] if directory.exists() else []
    kept = left[0].number == 1 if left else False
    for life in lives:
        for stream_id, count in life.flushed.items():
            if kept:  # else retention may have had it
                assert len(found.get(stream_id, [])) >= count, stream_id
    event_log = logs.open_log(directory, content="full")
    logs.write_stream(event_log, "next")
    event_log.close()
    reading = segments.read(directory)
    ends = [record.stream for record in reading if record.event == "terminal"]
    assert reading.problems == []
    assert reading.open == {}
    assert len(ends) == len(set(ends))
    assert "next" in ends


def texts_of(directory: Path) -> dict[str, list[str]]:
    """The texts of each stream in a log that may be torn, and not corrupt."""
    if not directory.exists():
        return {}
    reading = segments.read(directory)
    found: dict[str, list[str]] = {}
    for record in reading:
        event = record.load()
        if isinstance(event, events.TextDelta):
            found.setdefault(record.stream, []).append(event.text)
    assert reading.counts["corrupt"] == 0, reading.problems
    return found


def kills(reaper: Reaper, make: Callable[[], Life]) -> Iterator[Life]:
    """One life for each system call that may be its last."""
    for last in range(10_000):
        life = make()
        ended = reaper.run(life, last)
        yield life
        if ended:
            return
    raise AssertionError("it never ends")


@pytest.mark.long(usual=("always-True", "interval-False"))
@pytest.mark.parametrize("lags", [False, True])
@pytest.mark.parametrize("fsync", ["none", "interval", "always"])
def test_a_first_life_may_end_anywhere(
    reaper: Reaper, tmp_path: Path, fsync: str, lags: bool
) -> None:
    directory = tmp_path / "log"

    def make() -> Life:
        shutil.rmtree(directory, ignore_errors=True)
        return Life(directory, "first", lags, fsync=fsync)

    count = 0
    for life in kills(reaper, make):
        check_left(directory, life)
        count += 1
    assert count > 50


@pytest.mark.long(usual=("0.5",))
@pytest.mark.parametrize("part", [0.2, 0.5, 0.8, 0.99])
def test_a_life_that_follows_a_killed_one_may_end_anywhere(
    reaper: Reaper, tmp_path: Path, part: float
) -> None:
    first, directory = tmp_path / "first", tmp_path / "log"
    whole = Life(tmp_path / "whole", "first", fsync="interval")
    assert reaper.run(whole, 1 << 30)
    before = Life(first, "first", fsync="interval")
    assert not reaper.run(before, int(reaper.calls * part))

    def make() -> Life:
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(first, directory)
        return Life(directory, "second", fsync="interval")

    for life in kills(reaper, make):
        check_left(directory, before, life)


def test_a_life_after_a_log_of_schema_1_may_end_anywhere(reaper: Reaper, tmp_path: Path) -> None:
    directory = tmp_path / "log"

    def make() -> Life:
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(logs.SCHEMA_1, directory)
        return Life(directory, "second")

    for life in kills(reaper, make):
        check_left(directory, life)


def test_a_chain_that_is_written_anew_may_be_left_anywhere(
    reaper: Reaper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, directory = tmp_path / "first", tmp_path / "log"
    assert reaper.run(Life(first, "first"), 1 << 30)
    monkeypatch.setattr(chainfile, "COMPACT_LINES", 2)
    monkeypatch.setattr(chainfile, "LIVE_SHARE", 1)

    def make() -> Life:
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(first, directory)
        return Life(directory, "second")

    for life in kills(reaper, make):
        check_left(directory, life)
    gone, here = (
        path.read_bytes().splitlines()[0] for path in (first / "chain", directory / "chain")
    )
    assert b'"after":"00000000"' in gone
    assert b'"after":"00000000"' not in here


COLD: dict[str, Any] = {
    "ends": True,
    "fsync": "none",
    "compress_age_s": 1,
    "max_bytes": 0,
    "segment_bytes": 1200,
}
"""A life of which nearly every segment is compressed soon after the next is begun."""


def forms_of(directory: Path) -> list[str]:
    """The names of the files of segments."""
    return sorted(path.name for path in directory.glob("events-*.jsonl*"))


def check_forms(directory: Path) -> None:
    """After a start nothing is left of a compression that was cut short."""
    names = forms_of(directory)
    assert not [name for name in names if name.endswith(".new")]
    assert not [name for name in names if f"{name}.gz" in names]


def test_a_life_that_compresses_may_end_anywhere(reaper: Reaper, tmp_path: Path) -> None:
    directory = tmp_path / "log"
    seen: set[frozenset[str]] = set()

    def make() -> Life:
        shutil.rmtree(directory, ignore_errors=True)
        return Life(directory, "first", **COLD)

    for life in kills(reaper, make):
        if directory.exists():
            names = forms_of(directory)
            seen.add(frozenset(name.partition(".")[2] for name in names if name[14:15] == "1"))
        check_left(directory, life)
        check_forms(directory)
    assert seen >= {
        frozenset({"jsonl"}),
        frozenset({"jsonl", "jsonl.gz.new"}),
        frozenset({"jsonl", "jsonl.gz"}),
        frozenset({"jsonl.gz"}),
    }


@pytest.mark.long(usual=("0.3",))
@pytest.mark.parametrize("part", [0.3, 0.8])
def test_a_life_that_follows_a_killed_compression_may_end_anywhere(
    reaper: Reaper, tmp_path: Path, part: float
) -> None:
    first, directory = tmp_path / "first", tmp_path / "log"
    assert reaper.run(Life(tmp_path / "whole", "first", **COLD), 1 << 30)
    before = Life(first, "first", **COLD)
    assert not reaper.run(before, int(reaper.calls * part))

    def make() -> Life:
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(first, directory)
        return Life(directory, "second", **COLD)

    for life in kills(reaper, make):
        check_left(directory, before, life)
        check_forms(directory)


def test_a_life_whose_compressed_segments_are_pruned_may_end_anywhere(
    reaper: Reaper, tmp_path: Path
) -> None:
    directory = tmp_path / "log"

    def make() -> Life:
        shutil.rmtree(directory, ignore_errors=True)
        return Life(directory, "first", **{**COLD, "max_bytes": 2500})

    for life in kills(reaper, make):
        check_left(directory, life)
        check_forms(directory)


def cut_chain(directory: Path) -> None:
    path = directory / "chain"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))


def drop_chain(directory: Path) -> None:
    (directory / "chain").unlink()


def drop_checkpoint(directory: Path) -> None:
    (directory / "checkpoint").unlink()


def drop_segment(directory: Path) -> None:
    segments.list_segments(directory)[1].path.unlink()


def cut_newest(directory: Path) -> None:
    path = segments.list_segments(directory)[-1].path
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))


DAMAGES = (cut_chain, drop_chain, drop_checkpoint, drop_segment, cut_newest)


@pytest.mark.long(usual=("cut_newest",))
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_may_be_met_by_a_start_that_ends_anywhere(
    reaper: Reaper, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    first, directory = tmp_path / "first", tmp_path / "log"
    assert reaper.run(Life(first, "first"), 1 << 30)

    def make() -> Life:
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(first, directory)
        damage(directory)
        return Life(directory, "second", max_bytes=0)

    for _ in kills(reaper, make):
        for _ in range(2):
            reading = segments.read(directory)
            assert sum(1 for _ in reading) > 0
            assert reading.counts["corrupt"] > 0
            logs.open_log(directory).close()
