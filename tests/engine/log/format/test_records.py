"""The members of a record: their order, and their names."""

import typing
import zlib
from pathlib import Path

import msgspec
import pytest

from engine.log import event_log as eventlog
from engine.log.read import segments
from machines import events, outputs
from tests.support.logs import logs


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "log"


EXPECTED = """\
{"stream":"c-1","seq":0,"seg":0,"t":1700000000000001,"event":"opened",\
"request_id":"req-1","completion_id":"chatcmpl-1","created":1700000000,\
"model":"gpt-5.5","target":"gpt-5.5","worker":"scripted","schema":2,"request":{"a":1},\
"state":"held","out":[]
{"stream":"c-1","seq":1,"seg":1,"t":1700000000000001,"event":"text_delta",\
"text":"a \\"b\\"\\n","choice":1,"state":"content","out":["content"]
{"stream":"c-1","seq":2,"seg":2,"t":1700000000000001,"event":"text_delta","text":"xyz",\
"state":"finish","out":["content","cancel_turn","finish"],"released":1,"cut":"stop"
{"stream":"c-1","seq":3,"seg":3,"t":1700000000000001,"event":"tokens_counted",\
"usage":{"prompt_tokens":1,"completion_tokens":2},"state":"done","out":["done"]
{"stream":"c-1","seq":4,"seg":4,"t":1700000000000001,"event":"terminal",\
"kind":"completed","emission_trigger":"turn_finished","status":200,"state":"done","out":[]"""
"""The lines of the test below, each without its checksum."""


def test_a_record_is_one_line_of_json_in_the_promised_order(directory: Path) -> None:
    event_log = eventlog.EventLog(
        logs.settings(directory, content="full"), lambda: 1_700_000_000_000_001
    )
    event_log.open()
    stream = event_log.stream("c-1")
    stream.open(logs.opened(request=msgspec.Raw(b'{"a":1}')))
    delta = events.TextDelta('a "b"\n', 1)
    stream.append(delta, outputs.Step("content", (outputs.Content('a "b"\n', 1),)))
    said = (outputs.Content("x"), outputs.CancelTurn(), outputs.Finish("stop"))
    decision = outputs.Decision(1, "stop")
    stream.append(events.TextDelta("xyz"), outputs.Step("finish", said, decision))
    stream.append(
        events.TokensCounted(events.Usage(1, 2)), outputs.Step("done", (outputs.Done(),))
    )
    stream.close(logs.TERMINAL, "done")
    event_log.flush()
    bodies = []
    for line in logs.lines_of(directory):
        body, crc = line.rsplit(b',"crc":', 1)
        assert crc == b'"%08x"}\n' % zlib.crc32(body)
        bodies.append(body.decode())
    assert "\n".join(bodies) == EXPECTED


def test_no_event_has_a_field_by_a_name_of_the_records_own() -> None:
    own = {"stream", "seq", "seg", "t", "event", "state", "out", "crc"}
    own |= {*outputs.Decision.__struct_fields__}
    for kind in typing.get_args(segments.LoggedEvent):
        assert not own & set(kind.__struct_fields__)
