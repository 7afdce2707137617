"""A maintenance ends in time, whatever the clock does; its file is whole, or not there."""

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import structlog

from server import maintenance
from server.maintenance import Maintenance, Window
from tests.support.machines import virtualtime

NOON = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)
"""When these maintenances begin."""

HOUR = datetime.timedelta(hours=1)


class Clocks:
    """The wall clock, which may be set, beside a loop in virtual time."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return NOON.timestamp() + asyncio.get_running_loop().time() + self.ahead

    def elapsed(self) -> float:
        return asyncio.get_running_loop().time()


Scene = Callable[[Maintenance, Clocks], Awaitable[None]]


def lived(scene: Scene, path: Path, asked_for: bool = False) -> list[dict[str, object]]:
    """Have something happen to a maintenance; the lines that it wrote."""

    async def live() -> None:
        clocks = Clocks()
        running = Maintenance(path, clocks.now, clocks.elapsed)
        running.start(asked_for)
        try:
            await scene(running, clocks)
        finally:
            await running.close()

    with structlog.testing.capture_logs() as lines:
        virtualtime.run(live())
    return [dict(line) for line in lines]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / maintenance.FILE


def window(**changed: object) -> Window:
    return Window(NOON, **changed)  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    ("set_to", "lasts"),
    [(0.0, 3600), (3600.0, 60), (-3600.0, 3600), (7200.0, 60), (-86_400.0, 3600)],
    ids=["in time", "an hour ahead", "an hour back", "two hours ahead", "a day back"],
)
def test_s35_it_ends_by_whichever_clock_comes_first(set_to: float, lasts: int, path: Path) -> None:
    """A clock that is put forward is noticed by the timer within a minute."""

    async def scene(running: Maintenance, clocks: Clocks) -> None:
        await running.change(window(until=NOON + HOUR))
        clocks.ahead = set_to
        await asyncio.sleep(lasts - 1)

    async def to_its_end(running: Maintenance, clocks: Clocks) -> None:
        await scene(running, clocks)
        await asyncio.sleep(2)
        assert running.current() is None

    assert [line["cause"] for line in lived(scene, path)] == ["admin"]
    assert [line["cause"] for line in lived(to_its_end, path)] == ["admin", "until"]


def test_s35_who_asks_sees_the_end_before_the_timer_does(path: Path) -> None:
    async def scene(running: Maintenance, clocks: Clocks) -> None:
        await running.change(window(until=NOON + HOUR))
        assert running.retry_after() == 3600
        clocks.ahead = 3599.5
        assert running.retry_after() == 1
        clocks.ahead = 3600.5
        assert running.current() is None
        assert running.retry_after() is None
        clocks.ahead = 0
        assert running.current() is None, "it has ended, and does not come back"

    lived(scene, path)


@pytest.mark.parametrize(
    ("asked", "wait"),
    [
        (Window(NOON), None),
        (Window(NOON, until=NOON + HOUR), 3600),
        (Window(NOON, retry_after_s=5), 5),
        (Window(NOON, retry_after_s=5, until=NOON + HOUR), 5),
    ],
)
def test_s35_retry_after_is_what_was_asked_for_or_what_is_left_or_the_usual(
    asked: Window, wait: int | None, path: Path
) -> None:
    async def scene(running: Maintenance, _: Clocks) -> None:
        assert running.retry_after() is None
        await running.change(asked)
        assert running.retry_after() == wait

    lived(scene, path)


def test_s35_a_change_leaves_since_and_its_line_says_what_changed(path: Path) -> None:
    async def scene(running: Maintenance, _: Clocks) -> None:
        await running.change(window(), key="K", client="192.0.2.1", req_id="r1")
        await asyncio.sleep(60)
        await running.change(Window(running.instant(), "Soon.", retry_after_s=5))
        assert running.current() == window(message="Soon.", retry_after_s=5)
        await running.change(None)

    lines = lived(scene, path)
    assert [line["event"] for line in lines] == ["maintenance_changed"] * 3
    assert [line["changed"] for line in lines] == [
        ["enabled", "since", "message"],
        ["message", "retry_after_s"],
        ["enabled", "since", "message", "retry_after_s"],
    ]
    begun = lines[0]
    assert (begun["key"], begun["client"], begun["req_id"]) == ("K", "192.0.2.1", "r1")
    assert (begun["enabled"], begun["since"]) == (True, "2026-01-31T12:00:00Z")


async def nothing(_: Maintenance, __: Clocks) -> None:
    """Only the start is looked at."""


def test_s35_what_persists_is_there_after_a_restart(path: Path) -> None:
    """A thread deletes the file, so that no timer may run beside it: there is no `until`."""
    kept = window(message="Disks.", retry_after_s=9, persist=True)

    async def begin(running: Maintenance, _: Clocks) -> None:
        await running.change(kept)

    async def found(running: Maintenance, _: Clocks) -> None:
        assert running.current() == kept
        await running.change(None)

    async def gone(running: Maintenance, _: Clocks) -> None:
        assert running.current() is None

    lived(begin, path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    (start, _) = lived(found, path)
    assert start["cause"] == "start"
    assert not path.exists()
    lived(gone, path)


def test_s35_an_end_outlives_a_restart(path: Path) -> None:
    async def begin(running: Maintenance, _: Clocks) -> None:
        await running.change(window(until=NOON + HOUR, persist=True))

    async def found(running: Maintenance, clocks: Clocks) -> None:
        clocks.ahead = 1800
        assert running.retry_after() == 1800
        clocks.ahead = 3600
        assert running.current() is None

    lived(begin, path)
    assert [line["cause"] for line in lived(found, path)] == ["start", "until"]


def test_s35_without_persist_no_file_is_left_of_an_earlier_one(path: Path) -> None:
    async def scene(running: Maintenance, _: Clocks) -> None:
        await running.change(window(persist=True))
        await running.change(window(message="Here only."))

    lived(scene, path)
    assert not path.exists()


def test_s35_a_file_goes_when_its_time_is_over_before_a_restart_and_behind_it(path: Path) -> None:
    async def ends(running: Maintenance, _: Clocks) -> None:
        await running.change(window(until=NOON + HOUR, persist=True))
        await asyncio.sleep(3601)

    lived(ends, path)
    assert not path.exists()

    async def begin(running: Maintenance, _: Clocks) -> None:
        await running.change(window(until=NOON + HOUR, persist=True))

    lived(begin, path)
    kept = path.read_bytes()
    path.write_bytes(kept.replace(b"13:00", b"11:00"))
    assert lived(nothing, path) == []
    assert not path.exists()


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe", b"[]", b"{}", b'{"since":"2026-01-31T12:00:00"}', b"0" * (1 << 17)],
)
def test_s35_a_file_that_cannot_be_read_is_said_and_is_no_maintenance(
    data: bytes, path: Path
) -> None:
    path.write_bytes(data)

    async def off(running: Maintenance, _: Clocks) -> None:
        assert running.current() is None

    (line,) = lived(off, path)
    assert (line["event"], line["log_level"]) == ("maintenance_unreadable", "warning")
    assert line["path"] == str(path)
    assert path.read_bytes() == data, "whoever is told of it may look at it"


@pytest.mark.parametrize("kept", [b"{", None])
def test_s35_the_setting_begins_it_whatever_becomes_of_the_file(
    kept: bytes | None, path: Path
) -> None:
    if kept is not None:
        path.write_bytes(kept)

    async def on(running: Maintenance, _: Clocks) -> None:
        assert running.current() == window()

    assert lived(on, path, asked_for=True)[-1]["cause"] == "start"


def test_s35_what_cannot_be_kept_changes_nothing(path: Path) -> None:
    path.with_name(f"{path.name}.new").mkdir()

    async def scene(running: Maintenance, _: Clocks) -> None:
        with pytest.raises(OSError, match="not a regular file"):
            await running.change(window(persist=True))
        assert running.current() is None
        await running.change(window())
        assert running.current() == window()

    assert [line["event"] for line in lived(scene, path)] == ["maintenance_changed"]


def test_s35_a_file_that_cannot_be_deleted_keeps_no_server_closed(path: Path) -> None:
    path.mkdir()

    async def scene(running: Maintenance, _: Clocks) -> None:
        await running.change(window())
        await running.change(None)
        assert running.current() is None

    assert "maintenance_file_left" in [line["event"] for line in lived(scene, path)]


def test_s35_whoever_stops_waiting_leaves_file_and_server_alike(path: Path) -> None:
    async def scene(running: Maintenance, _: Clocks) -> None:
        asking = asyncio.ensure_future(running.change(window(persist=True)))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
        await running.close()
        assert running.current() == window(persist=True)

    lived(scene, path)
    assert path.exists()
