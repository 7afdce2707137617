"""Our own time is what of an answer's time is neither the client's nor the worker's."""

from collections.abc import Iterator

import pytest

from server.access.entry import Entry
from server.api.owntime import HEADER, OwnTime
from tests.support.client import httpclient
from tests.support.process import machinetime
from tests.support.providers import upstreams


class Clock:
    """Says the times that a test gives it, each once."""

    def __init__(self, *times: int) -> None:
        self._times: Iterator[int] = iter(times)

    def __call__(self) -> int:
        return next(self._times)


def measured(clock: Clock, received: int) -> tuple[OwnTime, Entry]:
    entry = Entry("r", "POST", "/x", "127.0.0.1", 0.0)
    return OwnTime(clock, received, entry), entry


def test_the_workers_time_is_not_ours() -> None:
    own, entry = measured(Clock(1_300, 9_000_250), received=1_000)
    assert own.us is None
    own.asked()
    assert own.us == 300
    assert own.head(event=9_000_000) == (HEADER, "0.55")
    assert entry.own_us == own.us == 550


def test_an_answer_that_no_worker_was_asked_for_is_ours_alone() -> None:
    own, entry = measured(Clock(3_000), received=1_000)
    assert own.head(event=2_900) == (HEADER, "2.00")
    assert entry.own_us == 2_000


@pytest.mark.parametrize("event", [5_000, 6_000])
def test_it_is_never_less_than_nothing(event: int) -> None:
    own, _ = measured(Clock(1_000, 5_000), received=1_000)
    own.asked()
    assert own.head(event) == (HEADER, "0.00")


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_says_it_without_what_its_upstream_took(streamed: bool) -> None:
    wait_s = 0.5
    head, first, *rest = upstreams.PLAIN
    slow = [head, wait_s, first, wait_s, *rest]  # so that a stream's head goes before its end
    with upstreams.stage((slow,)) as (server, _):
        body = {"model": "m", "messages": [{"role": "user", "content": "a"}], "stream": streamed}
        answer = httpclient.ask(server.url, "POST", "/chat/completions", body)
        said = float(dict(answer.headers)[HEADER])
        assert 0 < said < wait_s * 1000 * machinetime.slowness()
        (record,) = server.terminals()
        assert record["duration_us"] >= 2 * wait_s * 1_000_000
        if streamed:
            assert abs(record["own_us"] / 1000 - said) < 0.01
        else:
            assert 0 < record["own_us"] / 1000 <= said + 0.01
        server.stop()
        (line,) = (line for line in server.lines if line.get("stream") == record["stream"])
        assert line["overhead_ms"] == said


def test_a_refusal_without_a_worker_says_none() -> None:
    with upstreams.stage((upstreams.PLAIN,)) as (server, _):
        answer = httpclient.ask(server.url, "POST", "/chat/completions", {"n": 1})
        assert answer.status == 400
        assert HEADER not in dict(answer.headers)
