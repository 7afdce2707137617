"""Rows 30 to 35: bytes cut anywhere, events of any size, silence, and what is no event stream."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.faults import expected, scene
from tests.faults.upstreamstage import FINISHED, SO_FAR, TOLD, USAGE, WHOLE, Staged, upstream
from tests.support.process import machinetime
from tests.support.providers import upstreams
from tests.support.providers.upstreams import LAST, STREAM_HEAD, chunk, framed, response, sse

MIB = 2**20


@pytest.fixture(scope="module")
def staged() -> Iterator[Staged]:
    with upstream() as staged:
        yield staged


TEXT = "漢字 👩‍👩‍👧 é\r\n\rZ"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_row_30_any_split_of_any_text_is_the_same_bytes(staged: Staged, end: str) -> None:
    datas = [json.dumps(chunk(TEXT), ensure_ascii=False), json.dumps(chunk(finish="stop"))]
    sent = "".join(f"data: {data}{end}{end}" for data in [*datas, "[DONE]"]).encode()
    body = expected.role() + expected.content(TEXT) + expected.finish("stop") + expected.DONE
    text = range(sent.index("漢".encode()), sent.index(b"Z") + 1)
    units = [[sent[at : at + 1] for at in range(len(sent))]]
    for pieces in units + [[sent[:at], sent[at:]] for at in text]:
        answer = staged.streamed([STREAM_HEAD, *map(framed, pieces), LAST])
        assert answer.body == body
    staged.survived("completed", None, answer)


def test_row_31_whatever_the_standard_allows_leaks_nothing(staged: Staged) -> None:
    pretty = json.dumps(chunk("Hello"), indent=1).replace("\n", "\ndata:")
    answer = staged.streamed(
        upstreams.raw_stream(
            b"\xef\xbb\xbf: hello\n\nretry: 10\n\nid: 1\nevent: chunk\ndata:"
            + pretty.encode()
            + b"\n\ndata:\n\n: keepalive\n\nid: 2\n"
            + sse(chunk(finish="stop")).replace(b": ", b":", 1)
            + sse("[DONE]").rstrip()
        )
    )
    assert answer.body == WHOLE + expected.DONE
    staged.survived("completed", None, answer)


def in_reads(event: bytes) -> upstreams.Answer:
    """A stream with this event in reads of 4 KiB."""
    pieces = [event[at : at + 4096] for at in range(0, len(event), 4096)]
    return [STREAM_HEAD, *map(framed, pieces), FINISHED]


def seconds(staged: Staged) -> float:
    """The time that the server's process has worked."""
    stat = Path(f"/proc/{staged.stage.server.process.pid}/stat").read_text()
    return sum(map(int, stat.rpartition(")")[2].split()[11:13])) / 100


def holds_less(staged: Staged, limit: int) -> bool:
    """Whether the server's process has less memory than that."""
    return staged.stage.server.resident() < limit


@pytest.mark.long
def test_row_32_a_large_event_takes_linear_time_and_its_memory_is_given_back() -> None:
    with upstream(PROXY_EVENT_LOG="masked") as staged:
        sizes = [MIB, 8 * MIB]
        spent = dict.fromkeys(sizes, 0.0)
        limit = 0
        for _ in range(3):
            for size in sizes:
                began = seconds(staged)
                answer = staged.streamed(in_reads(sse(chunk("x" * size))))
                spent[size] += seconds(staged) - began
                assert answer.body == (
                    expected.role()
                    + expected.long_content("x" * size)
                    + expected.finish("stop")
                    + expected.DONE
                )
            # The last of it is freed after the client has its last byte.
            limit = limit or staged.stage.server.resident() + 24 * MIB
            machinetime.until(functools.partial(holds_less, staged, limit))
        staged.survived("completed", None, answer)
        assert spent[8 * MIB] < 8 * max(spent[MIB], 0.04) * 3


def test_row_32_an_event_over_the_limit_ends_the_stream(staged: Staged) -> None:
    too_long = b'data: "' + b"x" * (16 * MIB + 1)
    frame = expected.error(
        "upstream_event_too_large", "The provider sent an event over the size limit."
    )
    staged.breaks([TOLD, framed(too_long), "stall"], SO_FAR + frame, "upstream_event_too_large")


@pytest.fixture(scope="module")
def beating() -> Iterator[Staged]:
    """It sends the head early, and many heartbeats after it."""
    with upstream(PROXY_HEAD_HOLD_MS="50", PROXY_SSE_KEEPALIVE_MS="100") as staged:
        yield staged


LATE: upstreams.Answer = [STREAM_HEAD, 0.45, TOLD.removeprefix(STREAM_HEAD) + FINISHED]


def test_row_33_heartbeats_stand_before_the_answer_and_nowhere_else(beating: Staged) -> None:
    streamed, whole = beating.streamed(LATE), beating.whole(LATE)
    heartbeats = streamed.body.count(expected.KEEPALIVE)
    assert heartbeats >= 3
    rest = SO_FAR + expected.finish("stop") + expected.DONE
    assert streamed.body == heartbeats * expected.KEEPALIVE + rest
    assert json.loads(whole.raw)["choices"][0]["message"]["content"] == "Hello"
    quiet = beating.stage.ask(beating.source.prompt(LATE), {"x-no-keepalive": "1"}, stream=True)
    assert quiet.body == rest
    beating.survived("completed", None, streamed, whole, quiet)


def test_row_33_the_sdk_reads_past_heartbeats(beating: Staged) -> None:
    with openai.OpenAI(base_url=beating.stage.server.url, api_key="none") as client:
        chunks = client.chat.completions.create(
            model=scene.MODEL,
            messages=[{"role": "user", "content": beating.source.prompt(LATE)}],
            stream=True,
        )
        texts = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(texts) == "Hello"
    beating.stage.released()


def test_row_34_a_completion_becomes_a_whole_stream(staged: Staged) -> None:
    message = {"role": "assistant", "content": "Hello"}
    completion = {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": upstreams.usage(7, 2),
    }
    counts = {"asks_usage": True}
    answer = staged.streamed(response(200, completion), **USAGE)
    assert answer.body == (
        expected.role(**counts)
        + expected.content("Hello", **counts)
        + expected.finish("stop", **counts)
        + expected.usage(7, 2)
        + expected.DONE
    )
    staged.survived("completed", None, answer)


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"<html>\n<p>Hello</p></html>", "text/html"), (b"", "application/json"), (b"{", "")],
    ids=["HTML", "nothing", "half an object"],
)
def test_row_34_what_is_no_answer_is_a_502(staged: Staged, body: bytes, kind: str) -> None:
    answers = [
        ask(response(200, body, kind=kind or None)) for ask in (staged.streamed, staged.whole)
    ]
    for answer in answers:
        assert (answer.status, answer.error["code"]) == (502, "upstream_error")
        assert b"html" not in answer.raw
    staged.survived("upstream_error", "upstream_error", *answers)


def test_row_35_a_connection_closed_while_idle_is_replaced_without_a_word(
    staged: Staged,
) -> None:
    staged.stage.released()
    prompt = staged.source.prompt(["reset"], upstreams.PLAIN)
    answer = staged.stage.ask(prompt, stream=True)
    body = expected.role() + expected.content("Hello", " world") + expected.finish("stop")
    assert answer.body == body + expected.DONE
    stale, fresh = staged.source.requests_for(prompt)
    assert stale.connection < fresh.connection
    staged.survived("completed", None, answer)


def test_row_35_one_that_breaks_after_the_head_of_an_answer_is_not(staged: Staged) -> None:
    staged.stage.released()
    prompt = staged.source.prompt([STREAM_HEAD, "reset"], upstreams.PLAIN)
    answer = staged.stage.ask(prompt, stream=True)
    assert (answer.status, answer.error["code"]) == (502, "upstream_disconnected")
    assert len(staged.source.requests_for(prompt)) == 1
    staged.survived("upstream_error", "upstream_disconnected", answer)
