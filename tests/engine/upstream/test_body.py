"""The body of an answer, cut anywhere: what it says does not depend on how it came."""

import json
import time
from collections.abc import Callable, Iterable

import pytest

from engine.upstream import body as upstreambody, chunks
from engine.upstream.chunkfields import Batch
from machines import tooloptions
from machines.events import (
    TextDelta,
    TokensCounted,
    TurnFailed,
    TurnFinished,
    UpstreamGarbled,
    Usage,
)
from machines.stream import machine as stream
from machines.wire.eventsource import MAX_EVENT_BYTES
from tests.support.machines import feeding
from tests.support.machines.playbook import opened
from tests.support.process import growth
from tests.support.providers import upstreamshapes
from tests.support.providers.upstreams import DONE, chunk, counted, sse


def read(pieces: Iterable[bytes], is_event_stream: bool = True) -> Batch:
    """Everything that a body says to its end."""
    body = upstreambody.AnswerBody(chunks.ChunkReader(1), is_event_stream)
    said = [event for piece in pieces for batch in body.feed(piece) for event in batch or ()]
    return said + [event for batch in body.end() for event in batch or ()]


def answer(body: bytes) -> Batch:
    """What a body says, however it is cut."""
    return feeding.feed_all_ways(read, body)


def failure(body: bytes, is_event_stream: bool = True) -> tuple[str, str]:
    """Kind and code of the failure that is all a body says."""
    units = [body[at : at + 1] for at in range(len(body))]
    (failed,) = read([body], is_event_stream)
    assert read(units, is_event_stream) == [failed]
    assert isinstance(failed, TurnFailed)
    return failed.kind, failed.code


TEXT = "漢字 👩‍👩‍👧 é\r\n\rZ"
WHOLE = [TextDelta(TEXT), TurnFinished("stop", followed=True), TokensCounted(Usage(7, 2))]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_row_30_any_split_of_any_text_is_the_same_text(end: str, ascii_only: bool) -> None:
    sent = [chunk(TEXT), chunk(finish="stop"), counted(7, 2)]
    datas = [*(json.dumps(each, ensure_ascii=ascii_only) for each in sent), "[DONE]"]
    stream = "".join(f"data: {data}{end}{end}" for data in datas)
    assert answer(stream.encode()) == WHOLE


def test_row_31_whatever_the_standard_allows_leaks_nothing() -> None:
    pretty = json.dumps(chunk(TEXT), indent=1).replace("\n", "\ndata:")
    stream = (
        b"\xef\xbb\xbf: hello\n\nretry: 10\n\nid: 1\nevent: chunk\ndata:"
        + pretty.encode()
        + b"\n\n"
        b"data:\n\n: keepalive\n\nid: 2\n"
        + sse(chunk(finish="stop")).replace(b": ", b":", 1)
        + sse(counted(7, 2)).rstrip()
    )
    assert answer(stream) == WHOLE


def test_blank_lines_before_anything_are_no_beginning() -> None:
    assert answer(b"\r\n\n" + sse(chunk(TEXT), chunk(finish="stop"), counted(7, 2))) == WHOLE


def test_row_3_a_last_event_that_was_cut_off_is_a_cut_off_answer() -> None:
    cut = sse(chunk("a")) + sse(chunk("b"))[:40]
    assert answer(cut)[0] == TextDelta("a")
    (failed,) = answer(cut)[1:]
    assert isinstance(failed, TurnFailed)
    assert failed.code == "upstream_truncated"


def test_row_16_an_event_that_is_not_json_ends_the_answer() -> None:
    said = answer(sse(chunk("a"), "{nonsense", chunk("b", finish="stop")))
    assert said[:2] == [TextDelta("a"), UpstreamGarbled("{nonsense")]
    (failed,) = said[2:]
    assert isinstance(failed, TurnFailed)
    assert failed.code == "upstream_decode_error"


def test_row_16_of_an_event_that_is_not_json_the_first_kib_goes_on_record() -> None:
    said = answer(b"data: {\xff" + b"x" * 2000 + b"\n\n")
    assert said[0] == UpstreamGarbled("{\ufffd" + "x" * 1022)


def test_row_16_one_after_the_finish_goes_on_record_and_changes_nothing() -> None:
    said = answer(sse(chunk("a"), chunk(finish="stop"), "{nonsense", counted(7, 2)))
    assert said[2:] == [UpstreamGarbled("{nonsense"), TokensCounted(None)]


@pytest.mark.parametrize(
    "body", [b"", b": hi\n\n: there\n\n", b"\n\n", b"id: 1\n\n", DONE, b"data:"]
)
def test_row_9_a_stream_without_an_event_is_empty(body: bytes) -> None:
    assert failure(body) == ("empty", "empty_upstream")


@pytest.mark.parametrize(
    "body", [b"", b"   ", b"<html>\n<p>data: no</p>\n</html>", b"Welcome", b"{"]
)
def test_row_34_a_body_that_is_no_answer_is_an_error(body: bytes) -> None:
    assert failure(body, is_event_stream=False) == ("upstream_error", "upstream_error")


@pytest.mark.parametrize("is_event_stream", [True, False])
def test_row_34_what_counts_is_how_a_body_begins(is_event_stream: bool) -> None:
    completion = {
        "choices": [{"message": {"content": TEXT}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2},
    }
    stream = sse(chunk(TEXT), chunk(finish="stop"), counted(7, 2))
    counted_first = [TextDelta(TEXT), TokensCounted(Usage(7, 2)), TurnFinished("stop")]
    for body, expected in (
        (b"\n " + json.dumps(completion, indent=2).encode(), counted_first),
        (stream, WHOLE),
    ):
        said = feeding.feed_all_ways(lambda pieces: read(pieces, is_event_stream), body)
        assert said == expected


@pytest.mark.parametrize("size", [2**20, 8 * 2**20])
def test_row_32_a_large_event_is_read_in_linear_time(size: int) -> None:
    stream = sse(chunk("x" * size), chunk(finish="stop"), counted(7, 2))
    begun = time.process_time()
    said = read(stream[at : at + 4096] for at in range(0, len(stream), 4096))
    assert time.process_time() - begun < 3
    texts = [event.text for event in said if isinstance(event, TextDelta)]
    assert "".join(texts) == "x" * size
    assert said[len(texts) :] == WHOLE[1:]


@pytest.mark.parametrize("prefix", [b"data: ", b"{"])
def test_row_32_one_over_the_limit_is_refused_after_what_came_before_it(prefix: bytes) -> None:
    before = sse(chunk("a")) if prefix != b"{" else b""
    stream = before + prefix + b'"' + b"x" * MAX_EVENT_BYTES
    said = read(stream[at : at + 65536] for at in range(0, len(stream), 65536))
    assert said[:-1] == ([TextDelta("a")] if before else [])
    assert isinstance(said[-1], TurnFailed)
    assert said[-1].code == "upstream_event_too_large"


@pytest.mark.parametrize("name", [*upstreamshapes.SHAPES, "whole"])
def test_time_is_linear_in_what_an_answer_has_many_of(name: str) -> None:
    """What the machine makes of it included."""
    make = upstreamshapes.SHAPES.get(name, upstreamshapes.whole)
    options = tooloptions.ToolOptions(("f",), call_limit=1_000_000)

    def prepare(size: int) -> Callable[[], object]:
        data = make(size)
        pieces = [data[start : start + 65_536] for start in range(0, len(data), 65_536)]

        def run() -> None:
            machine = stream.Stream(opened(tools=options))
            for event in read(pieces):
                machine.step(event)

        return run

    growth.check_linear(prepare, 1000)
