"""What is kept of requests to a worker's processes."""

from engine import rpcfigures


def test_replies_are_counted_by_how_long_they_took() -> None:
    figures = rpcfigures.RpcFigures()
    for seconds in (0.0005, 0.002, 30.0):
        figures.replied("turn/start", seconds)
    figures.replied("thread/start", 0.001)
    assert figures.seconds.keys() == {"turn/start", "thread/start"}
    counts = figures.seconds["turn/start"].counts
    assert {bucket: count for bucket, count in enumerate(counts) if count} == {0: 1, 1: 1, 15: 1}


def test_what_had_no_result_is_counted_by_why() -> None:
    figures = rpcfigures.RpcFigures()
    figures.failed("turn/start", "refused")
    figures.failed("turn/start", "refused")
    figures.failed("turn/start", "timed_out")
    assert figures.failures == {
        ("turn/start", "refused"): 2,
        ("turn/start", "timed_out"): 1,
    }
