"""The page of a token's trip says where a token goes: every call has a sentence, at any time."""

import functools
import importlib

import pytest

from engine.stream import pump
from tests.tools import tokentrace, tokenwords


def calls() -> tuple[tokentrace.Call, ...]:
    """The whole trip."""
    take, flush = tokentrace.trip()
    return take + flush


def test_every_function_of_the_trip_has_a_sentence_and_no_other_has() -> None:
    assert {call.function for call in calls()} == set(tokenwords.WORDS)
    assert all(tokenwords.WORDS.values())


def test_the_functions_are_where_the_page_says() -> None:
    for call in calls():
        module = importlib.import_module(call.file.removesuffix(".py").replace("/", "."))
        assert callable(functools.reduce(getattr, call.function.split("."), module))


def test_the_trip_is_the_same_each_time() -> None:
    before = tokentrace.trip()
    tokentrace.trip.cache_clear()
    assert tokentrace.trip() == before


def test_a_token_is_taken_from_a_pipe_to_its_stream_and_flushed_from_there_to_a_socket() -> None:
    take, flush = tokentrace.trip()
    assert take[0] == ("engine/codex/child/process.py", "Process.pipe_data_received", "")
    assert "Pump.event" in [call.function for call in take]
    assert flush[-1].function == "Outbound.transmit"
    written = [call.function for call in flush].index("LiveSegment.write")
    sent = [call.function for call in flush].index("Sink.send")
    assert written < sent


def test_each_movement_enters_its_stream_once() -> None:
    for movement in tokentrace.trip():
        assert len([call for call in movement if call.file == "engine/stream/pump.py"]) == 1


def test_a_call_more_is_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    before = calls()
    flush_texts = pump.Pump.flush_texts

    def twice(its: pump.Pump) -> None:
        flush_texts(its)
        flush_texts(its)

    monkeypatch.setattr(pump.Pump, "flush_texts", twice)
    tokentrace.trip.cache_clear()
    try:
        assert len(calls()) > len(before)
    finally:
        tokentrace.trip.cache_clear()


def test_changes_of_file_are_counted() -> None:
    trip = tuple(tokentrace.Call(file, "f", "") for file in "aabab")
    assert tokentrace.changes(trip) == 3
