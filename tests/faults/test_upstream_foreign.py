"""Row 45 of the fault matrix: an upstream's texts, of any length and shape."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults import foreign, observed
from tests.faults.upstreamstage import TOLD, Staged, upstream
from tests.support.providers import upstreams
from tests.support.providers.scripted import Json
from tests.support.providers.upstreams import LAST, STREAM_HEAD, chunk, framed, head, response, sse

HEADER = 8000
"""Characters of a header's value that HTTP clients take."""


@pytest.fixture(scope="module")
def staged() -> Iterator[Staged]:
    room: dict[str, Any] = {"PROXY_SSE_MAX_CONCURRENCY": "4", observed.MEASURED: "1"}
    constants = {"engine.failures.RETRY_BASE_S": 0.001}
    with upstream(constants=constants, **room) as staged:
        yield staged


def delta(**members: Any) -> Json:
    return chunk(choices=[{"index": 0, "delta": members, "finish_reason": None}])


def call(text: str) -> Json:
    return delta(tool_calls=[{"index": 0, "id": text, "function": {"name": text}}])


def refusal(**error: str) -> upstreams.Answer:
    return response(400, {"error": error})


def in_header(status: int, name: str, text: str) -> upstreams.Answer:
    """A response with a header of that text, as far as it can be in one."""
    value = "".join(each for each in text if each.isprintable() and each.isascii())[:HEADER]
    body = json.dumps({"error": {"message": "No."}}).encode()
    fields = (f"{name}: {value}", f"content-length: {len(body)}")
    return [head(status, *fields, kind=None) + body]


def said(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


PLACES: dict[str, Callable[[str], upstreams.Answer]] = {
    "message": lambda text: refusal(message=text),
    "code": lambda text: refusal(message="No.", code=text),
    "type": lambda text: refusal(message="No.", type=text),
    "param": lambda text: refusal(message="No.", param=text),
    "detail": lambda text: response(422, {"detail": [{"msg": text}]}),
    "status": lambda text: response(400, {"error": {"message": "No.", "status": text}}),
    "a body that is no JSON": lambda text: response(400, said(text)),
    "a 5xx": lambda text: response(503, said(text)),
    "the first event": lambda text: upstreams.stream({"error": {"message": text, "code": text}}),
    "an event after text": lambda text: [
        STREAM_HEAD + TOLD.removeprefix(STREAM_HEAD),
        framed(sse({"error": {"message": text, "code": text, "param": text}})),
        LAST,
    ],
    "finish": lambda text: upstreams.stream(chunk("Hello"), chunk(finish=text)),
    "id and model": lambda text: upstreams.stream(
        chunk("Hello", id=text, model=text), chunk(finish="stop")
    ),
    "role": lambda text: upstreams.stream(delta(role=text, content="Hello"), chunk(finish="stop")),
    "call": lambda text: upstreams.stream(call(text), chunk(finish="tool_calls")),
    "name of an event": lambda text: upstreams.raw_stream(
        b"event: " + said(text) + b"\n" + sse(chunk("Hello"), chunk(finish="stop"), "[DONE]")
    ),
    "data of an event": lambda text: upstreams.raw_stream(
        b"data: " + said(text) + b"\n\n" + sse(chunk("Hello"))
    ),
    "comment": lambda text: upstreams.raw_stream(
        b": " + said(text) + b"\n" + sse(chunk("Hello"), chunk(finish="stop"), "[DONE]")
    ),
    "retry-after": lambda text: in_header(429, "retry-after", text),
    "retry-after of a 5xx": lambda text: in_header(503, "retry-after", text),
    "content-type": lambda text: in_header(200, "content-type", text),
    "date": lambda text: in_header(400, "date", text),
}
"""Answers with a text of the upstream's own, by where it stands."""


@pytest.mark.long(usual=("finish", "comment", "retry-after", "content-type"))
@pytest.mark.parametrize("place", PLACES)
def test_row_45_whatever_an_upstream_writes_is_read_in_no_time(staged: Staged, place: str) -> None:
    def ask() -> None:
        for text in foreign.TEXTS.values():
            foreign.check(staged.stage, staged.streamed(PLACES[place](text)))

    with staged.neighbours():
        foreign.briefly(staged.stage.server, ask)
    staged.stage.released()
