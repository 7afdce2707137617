"""What we are compared with says the same chunks as we do."""

import json

import msgspec
import pytest

from bench import rivals, standin
from tests.support.client import httpclient

TURN = standin.Turn(deltas=30, texts=("né ",), burst=7)
"""How the streams of these tests go."""


def texts_of(url: str) -> list[str]:
    """The contents of one answer's chunks, which ends with the sentinel."""
    body = {"model": "gpt-5.5", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    answer = httpclient.ask(url, "POST", "/chat/completions", body)
    events = answer.body.decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    return [delta["content"] for delta in deltas if delta.get("content")]


@pytest.mark.parametrize("module", ["source", "echo"])
def test_a_source_says_what_it_is_asked_to(module: str) -> None:
    with rivals.running(module, msgspec.json.encode(TURN).decode()) as rival:
        assert texts_of(rival.url) == ["né "] * 30
        assert texts_of(rival.url) == ["né "] * 30


@pytest.mark.parametrize("work", ["chunks", "lines"])
def test_the_relay_says_what_its_source_says(work: str) -> None:
    with rivals.relay(rivals.Case(1, TURN, work)) as relay:
        assert texts_of(relay.url) == ["né "] * 30


def test_our_server_says_it_too() -> None:
    with rivals.turntape(rivals.Case(1, TURN)) as ours:
        assert texts_of(ours.url) == ["né "] * 30


@pytest.mark.long
def test_rounds_measure_both_sides() -> None:
    case = rivals.Case(2, standin.Turn(deltas=20, interval=0.002, stamped=True))
    measured = list(rivals.rounds(case, 2))
    assert len(measured) == 2
    for each in measured:
        assert each.ours.chunks == each.theirs.chunks == 40
        for report in each:
            assert 0 < report.latency_ms["p50"] < 2000
        assert each.cpu_ratio > 0
