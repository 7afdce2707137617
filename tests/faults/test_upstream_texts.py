"""Row 43 of the fault matrix: a text that comes once in pieces and once as a whole."""

import json
from collections.abc import Iterator

import pytest

from tests.faults import expected
from tests.faults.upstreamstage import SO_FAR, Staged, upstream
from tests.support.providers import upstreams
from tests.support.providers.scripted import Json
from tests.support.providers.upstreams import chunk, counted

MISMATCH = expected.error(
    "upstream_text_mismatch",
    "The whole text of a message does not continue the pieces that were sent of it.",
)


@pytest.fixture(scope="module")
def staged() -> Iterator[Staged]:
    with upstream(PROXY_SSE_MAX_CONCURRENCY="4") as staged:
        yield staged


def repeated(text: str, finish: str | None = "stop") -> Json:
    """A chunk with a whole message in place of a delta."""
    message = {"role": "assistant", "content": text}
    return chunk(choices=[{"index": 0, "message": message, "finish_reason": finish}])


def answer(whole: str) -> upstreams.Answer:
    """Two pieces of a text, and then all of it."""
    return upstreams.stream(chunk("Hel"), chunk("lo"), repeated(whole), counted(7, 2))


@pytest.mark.parametrize("rest", ["", ", more", "\n"])
def test_row_43_a_whole_text_that_continues_is_completed(staged: Staged, rest: str) -> None:
    with staged.neighbours():
        streamed = staged.streamed(answer("Hello" + rest))
        whole = staged.whole(answer("Hello" + rest))
    said = expected.content(rest) if rest else b""
    assert streamed.body == SO_FAR + said + expected.ENDED
    assert json.loads(whole.raw)["choices"][0]["message"]["content"] == "Hello" + rest
    staged.survived("completed", None, streamed, whole)


@pytest.mark.parametrize("whole", ["Hel", "Help!", "hello", "elloHello", "Hello"[::-1]])
def test_row_43_a_whole_text_that_contradicts_its_pieces_is_an_error(
    staged: Staged, whole: str
) -> None:
    with staged.neighbours():
        streamed = staged.streamed(answer(whole))
        body = staged.whole(answer(whole))
    assert (streamed.body, streamed.whole) == (SO_FAR + MISMATCH, True)
    assert (body.status, body.error["code"]) == (502, "upstream_text_mismatch")
    staged.survived("upstream_error", "upstream_text_mismatch", streamed, body)
