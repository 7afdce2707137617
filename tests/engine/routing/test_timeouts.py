"""A name's own limits of time, or those of all."""

from engine.routing.timeouts import USUAL, Timeouts


def test_what_a_name_does_not_say_is_as_usual() -> None:
    assert [USUAL.first_chunk(7), USUAL.idle(8), USUAL.total(0)] == [7, 8, 0]
    own = Timeouts(first_chunk_ms=5, idle_ms=0, total_ms=60_000)
    assert [own.first_chunk(7), own.idle(8), own.total(0)] == [5_000, 0, 60_000_000]
