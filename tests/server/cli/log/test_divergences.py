"""Where a stream came out differently is a table, with a mark at each row that differs."""

from engine.log import replay
from server.cli.log import divergences


def test_rows_that_differ_are_marked_and_columns_are_below_each_other() -> None:
    rows = (
        replay.Row(1, "text_delta", "content [content]", "content [content]"),
        replay.Row(2, "turn_finished", "done [finish done]", "content []"),
    )
    cause = replay.Cause("turn_finished", "content", rows[1].recorded, rows[1].replayed)
    found = replay.Divergence("st_1", "req_1", "log.jsonl:3", rows, cause)
    assert list(divergences.lines(found)) == [
        "diverged: stream st_1, request req_1",
        "at log.jsonl:3",
        "   seq  event             recorded            replayed",
        "     1  text_delta        content [content]   content [content]",
        "     2! turn_finished     done [finish done]  content []",
    ]
