"""A divergence is shown row by row, what differs marked."""

from engine.log import replay
from server.cli import divergence


def test_what_differs_is_marked() -> None:
    rows = (
        replay.Row(1, "text_delta", "content", "content"),
        replay.Row(2, "turn_finished", "finish", "failed"),
    )
    cause = replay.Cause("turn_finished", "content", "finish", "failed")
    found = replay.Divergence("st_1", "req_1", "record 2", rows, cause)
    assert list(divergence.lines(found)) == [
        "diverged: stream st_1, request req_1",
        "at record 2",
        "   seq  event             recorded  replayed",
        "     1  text_delta        content  content",
        "     2! turn_finished     finish   failed",
    ]
