"""The server's own lines about a stream, stitched in by time."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from machines import events
from server.cli.log import stitching
from tests.support.logs import told

FINISHED = events.TurnFinished("stop")
BEGUN_S = 1_700_000_000


def line(second: float, event: str, **members: Any) -> str:
    """A line of the diagnostics, so many seconds behind the stream's beginning."""
    when = datetime.fromtimestamp(BEGUN_S + second, UTC).isoformat(timespec="microseconds")
    return json.dumps({"timestamp": when, "severity": "warning", "event": event, **members})


def stitched(tmp_path: Path, *lines: str) -> list[str]:
    """What is shown of a stream from its first mark on."""
    happened = [*told.texts("Hel"), (3, FINISHED)]
    directory = told.write(tmp_path / "log", *happened)
    (segment,) = directory.glob("*.jsonl")
    path = tmp_path / "diagnostics"
    path.write_text("\n".join(lines))
    shown = [each.text for each in stitching.lines(told.story_of(segment, "st_1"), path)]
    return shown[len(shown) - shown[::-1].index("") :]


def test_lines_stand_where_their_time_is(tmp_path: Path) -> None:
    found = stitched(
        tmp_path,
        line(2, "turn_failed", stream="st_1", code="x"),
        line(0.5, "request_begun", req_id="req-1"),
        line(1.5, "turn_failed", stream="st_2"),
        line(2.5, "worker_lost", worker="codex-0", reason="killed"),
        line(900, "worker_lost", worker="codex-0", reason="much later"),
    )
    assert [each.split()[3] for each in found if each.strip()] == [
        "opened:",
        "request_begun",
        "text_delta",
        "turn_failed",
        "worker_lost",
        "turn_finished:",
        "terminal:",
    ]
    assert any("code=x" in each for each in found)


def test_what_journalctl_prints_is_read(tmp_path: Path) -> None:
    said = line(2, "turn_failed", stream="st_1")
    journal = f"Nov 14 22:13:22 host turntape[41]: {said}"
    exported = json.dumps({"_PID": "41", "MESSAGE": line(2.5, "defect", stream="st_1")})
    found = stitched(tmp_path, journal, exported, "no JSON {", "Started turntape.service.")
    assert sum("server" in each and "turn_failed" in each for each in found) == 1
    assert sum("defect" in each for each in found) == 1


def test_a_file_without_any_says_so(tmp_path: Path) -> None:
    assert "is about this stream" in stitched(tmp_path, line(2, "x", stream="st_2"))[-1]
