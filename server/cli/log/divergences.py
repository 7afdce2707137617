"""Says where a stream came out differently: each row of what was recorded beside today's."""

from collections.abc import Iterator

from engine.log import replay


def lines(found: replay.Divergence) -> Iterator[str]:
    """Return lines that show where a stream comes out differently."""
    yield f"diverged: stream {found.stream}, request {found.request_id}"
    yield f"at {found.where}"
    rows = found.rows
    width = max(len(row.recorded) for row in rows)
    yield f"{'seq':>6}  {'event':<16}  {'recorded':<{width}}  replayed"
    for row in rows:
        mark = " " if row.recorded == row.replayed else "!"
        yield f"{row.seq:>6}{mark} {row.event:<16}  {row.recorded:<{width}}  {row.replayed}"
