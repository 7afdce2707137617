"""What an upstream is told of a trace, byte by byte."""

import pytest

from server.access.tracecontext import RANDOM, SAMPLED, TraceContext


@pytest.mark.parametrize(
    ("flags", "written"), [(0, "00"), (SAMPLED, "01"), (SAMPLED | RANDOM, "03")]
)
def test_the_answers_span_is_the_parent(flags: int, written: str) -> None:
    context = TraceContext(0xAB, 1, 2, 0xCD, flags)
    header = f"00-{'0' * 30}ab-{'0' * 14}cd-{written}"
    assert context.headers() == (("traceparent", header),)
    assert context.is_sampled is bool(flags)


def test_the_clients_state_goes_with_it() -> None:
    context = TraceContext(1, 0, 2, 3, SAMPLED, "congo=t61")
    assert dict(context.headers())["tracestate"] == "congo=t61"
