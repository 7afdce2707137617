"""Of the summaries only those are read that may be seen, and nothing damaged passes for a row."""

import asyncio
import errno
import json
import types
from pathlib import Path
from typing import Any

import pytest

from engine.log import event_log as eventlog
from engine.log.derive import purging
from engine.log.find import witnesses
from engine.log.read import drafts, segments
from engine.log.summary import reading, sidecars
from server.api import gates
from server.http.errors import ApiError
from server.usage import endpoint as usage, query
from server.usage.selection import Selection
from tests.support.logs import logs, summaries
from tests.support.logs.summaries import KEPT


@pytest.fixture
def event_log(tmp_path: Path) -> eventlog.EventLog:
    """A log of six requests, of two keys."""
    made = logs.open_log(tmp_path, segment_bytes=2000, **KEPT)
    for number in range(6):
        summaries.write(made, f"a-{number}", key=("k", "l")[number % 2])
    return made


def read(event_log: eventlog.EventLog, key: str | None = None, text: str = "") -> Any:
    assert event_log.summaries is not None
    selection = Selection(event_log.summaries, query.read(text, query.OF_LINES), key)

    async def play() -> list[str]:
        await selection.settle()
        return [row.summary async for block in selection.blocks() for row in block]

    return asyncio.run(play()), selection


def read_held(event_log: eventlog.EventLog, key: str) -> Any:
    """What one key sees of its lines."""
    assert event_log.summaries is not None
    selection = Selection(event_log.summaries, query.read("", query.OF_LINES), key)

    async def play() -> list[str]:
        await selection.settle()
        return [
            row.summary
            async for block in selection.blocks()
            for row in await selection.held(block) or ()
        ]

    return asyncio.run(play()), selection


def test_a_key_sees_its_own(event_log: eventlog.EventLog) -> None:
    assert read(event_log)[0] == [f"a-{n}" for n in range(6)]
    assert read(event_log, "k")[0] == ["a-0", "a-2", "a-4"]
    assert read(event_log, "k", "key=l")[0] == []
    assert read(event_log)[1].is_complete
    event_log.close()


def test_damage_is_said_and_a_doubled_row_is_one(
    event_log: eventlog.EventLog, tmp_path: Path
) -> None:
    read(event_log)
    path = tmp_path / sidecars.name_of(1)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[1], lines[2].replace(b"a-1", b"a-9")]))
    found, selection = read(event_log)
    assert found == ["a-0", *(f"a-{n}" for n in range(len(lines) - 2, 6))]
    assert (selection.damaged, selection.is_complete) == (1, False)
    event_log.close()


def test_a_purge_beside_the_server_takes_no_line_of_another_key(tmp_path: Path) -> None:
    """It moves the beginning of a stream that the server has still to summarize."""
    event_log = logs.open_log(tmp_path, segment_bytes=4000, content="full", **KEPT)
    summaries.write(event_log, "st_gone", key="alpha")
    long = event_log.stream("st_long", "full")
    long.open(logs.opened(key="beta"))
    while len(segments.list_segments(tmp_path)) < 3:
        long.append(*logs.content("more of it"))
        event_log.flush()
    logs.wait_for_chores(event_log)
    summaries.settle(event_log)
    assert purging.purge(tmp_path, ["st_gone"], 77, lambda *_: None).streams == {"st_gone"}
    long.close(logs.TERMINAL, "done")
    event_log.flush()
    found, selection = read_held(event_log, "beta")
    assert (found, selection.damaged, selection.is_complete) == (["st_long"], 0, True)
    event_log.close()
    with drafts.reader(segments.list_segments(tmp_path)[0].path) as file:
        place = file.read().index(b'{"stream":"st_long","seq":0,')
    again = logs.open_log(tmp_path, segment_bytes=4000, content="full", **KEPT)
    summaries.write(again, "st_next")
    assert read_held(again, "beta")[0] == ["st_long"]
    (row,) = [row for row in summaries.rows_of(tmp_path) if row.summary == "st_long"]
    assert row.begun == (1, place)  # a start puts it right
    again.close()


def test_a_file_that_is_missing_is_said(event_log: eventlog.EventLog, tmp_path: Path) -> None:
    assert read(event_log)[1].is_complete
    (tmp_path / sidecars.name_of(1)).unlink()
    found, selection = read(event_log)
    assert "a-0" not in found
    assert not selection.is_complete
    event_log.close()


def test_a_stalled_disk_is_waited_for_so_long_and_said(
    event_log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.usage.selection.SETTLE_S", 0.01)
    read(event_log)
    free = summaries.stall(event_log)
    summaries.write(event_log, "late")
    found, selection = read(event_log)
    assert (found, selection.is_complete) == ([f"a-{n}" for n in range(6)], False)
    free.set()
    event_log.close()


@pytest.mark.parametrize("key", ["k", gates.ADMIN_KEY_NAME])
def test_lines_that_are_held_against_the_log_take_a_turn_and_others_do_not(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_log = logs.open_log(tmp_path, **summaries.KEPT)
    summaries.write(event_log, "st_1", key="k")
    turns = asyncio.Semaphore(1)
    config = types.SimpleNamespace(api_keys_file=tmp_path)
    context: Any = types.SimpleNamespace(log=event_log, usage_turns=turns, config=config)
    had: list[bool] = []
    sent: list[bytes] = []
    wrong = witnesses.wrong

    def looked(*arguments: Any) -> Any:
        had.append(turns.locked())
        return wrong(*arguments)

    def write(data: bytes) -> None:
        had.append(turns.locked())
        sent.append(data)

    request = types.SimpleNamespace(query="")
    exchange = types.SimpleNamespace(
        request=request, start=lambda *_: None, write=write, finish=lambda: None
    )
    entry = types.SimpleNamespace(key=key)
    call: Any = types.SimpleNamespace(exchange=exchange, entry=entry, headers=[])
    monkeypatch.setattr(witnesses, "wrong", looked)
    asyncio.run(usage.raw(context, call))
    assert [json.loads(line)["stream"] for line in sent] == ["st_1"]
    assert had == ([True, False] if key == "k" else [False])
    event_log.close()


def test_what_cannot_be_read_is_no_end(
    event_log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: reading.SummaryReader) -> None:
        raise OSError(errno.EIO, "planted")

    monkeypatch.setattr(reading.SummaryReader, "block", fail)
    with pytest.raises(ApiError) as refused:
        read(event_log)
    assert refused.value.code == "usage_unavailable"
    event_log.close()
