"""The last record of a stream says what its machine, its sink and its clock know."""

from engine.stream import terminal, times
from engine.stream.sink import Summary
from machines import events
from machines.stream.machine import Stream
from tests.support.logs import logs

AT = times.Times(
    *(100, 150, 150),
    token=105,
    content=106,
    longest_gap=40,
    gap_owner="client",
    parked=1_000,
    heartbeats=3,
)
SILENT = times.Times(100, 190, 190)
SUMMARY = Summary(status=200, frames=4, body_bytes=321, body_hash="ab12")


def test_a_stream_that_ended_is_summed_up() -> None:
    stream = Stream(logs.opened())
    usage = events.Usage(prompt_tokens=7, completion_tokens=2)
    for event in (
        events.TextDelta("Hello"),
        events.TokensCounted(usage),
        events.TurnFinished("end_turn"),
    ):
        stream.step(event)
    last = terminal.terminal(stream, SUMMARY, AT, now=190)
    assert (last.kind, last.emission_trigger, last.code) == ("completed", "turn_finished", None)
    assert (last.finish_reasons, last.finish_words) == (("stop",), ("end_turn",))
    assert last.usage == usage
    assert (last.status, last.frames, last.body_bytes, last.body_hash) == (200, 4, 321, "ab12")
    assert (last.ttft_us, last.first_content_us, last.duration_us) == (5, 6, 90)
    assert (last.longest_gap_us, last.longest_gap_owner) == (40, "client")
    assert (last.parked_us, last.heartbeats) == (1_000, 3)


def test_a_failure_has_its_code() -> None:
    stream = Stream(logs.opened())
    stream.step(events.TurnFailed("upstream_error", "oom", "Out of memory."))
    last = terminal.terminal(stream, SUMMARY, SILENT, 190)
    assert (last.kind, last.code, last.ttft_us) == ("upstream_error", "oom", None)


def test_a_stream_that_was_cut_before_its_machine_ended_is_a_defect() -> None:
    stream = Stream(logs.opened())
    stream.step(events.TextDelta("Hel"))
    assert terminal.terminal(stream, SUMMARY, AT, 190).kind == "defect"
