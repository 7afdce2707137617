"""What ends while a log is followed is told once, in its order, across segments."""

from pathlib import Path

from engine.log.find import catalog, follow
from engine.log.read import segments
from tests.support.logs import logs, summaries


def test_each_end_is_told_once_also_across_segments(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path, segment_bytes=4000, **summaries.KEPT)
    for number in range(3):
        summaries.write(event_log, f"st_old{number}")
    lasting = event_log.stream("st_lasting")
    lasting.open(logs.opened(model="lasting"))
    event_log.flush()
    follower = follow.Follower(catalog.Catalog(tmp_path))
    assert follower.look() == []
    before = segments.list_segments(tmp_path)[-1].number
    told: list[str] = []
    for number in range(20):
        summaries.write(event_log, f"st_{number:02}")
        if number % 3 == 0:
            told += [row.summary for row in follower.look()]
    lasting.close(logs.TERMINAL, "done")
    event_log.flush()
    last = follower.look()
    told += [row.summary for row in last]
    assert told == [*(f"st_{number:02}" for number in range(20)), "st_lasting"]
    assert last[-1].model == "lasting"
    assert segments.list_segments(tmp_path)[-1].number > before + 1
    event_log.close()
    assert follower.look() == []


def test_a_refusal_is_told_and_half_a_line_waits(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path, **summaries.KEPT)
    event_log.flush()
    follower = follow.Follower(catalog.Catalog(tmp_path))
    summaries.reject(event_log, "req_1")
    (row,) = follower.look()
    assert row.is_refusal
    event_log.close()
    segment = segments.list_segments(tmp_path)[-1].path
    whole = segment.read_bytes()
    segment.write_bytes(whole + b'{"stream":"st_x","seq":0,"seg":9,"t":1,"event":"opened"')
    assert follower.look() == []
