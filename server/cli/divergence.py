"""Where a stream comes out of today's code another than it was recorded, as lines."""

from collections.abc import Iterator

from engine.log import replay


def lines(found: replay.Divergence) -> Iterator[str]:
    """Yield what was recorded beside what was replayed, the rows that differ marked."""
    yield f"diverged: stream {found.stream}, request {found.request_id}"
    yield f"at {found.where}"
    rows = found.rows
    width = max(len(row.recorded) for row in rows)
    yield f"{'seq':>6}  {'event':<16}  {'recorded':<{width}}  replayed"
    for row in rows:
        mark = " " if row.recorded == row.replayed else "!"
        yield f"{row.seq:>6}{mark} {row.event:<16}  {row.recorded:<{width}}  {row.replayed}"
