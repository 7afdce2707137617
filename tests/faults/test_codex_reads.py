"""Rows 42 and 43 of the fault matrix: a read that holds lines of many turns, and texts that come
twice.

On a stand-in one line of four turns' is poison, in a write that holds a line of each.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench import standin
from machines import events
from tests.faults import codexstage, expected, instep
from tests.faults.codexstage import Binary, StandIn
from tests.support.providers.replies import Message, Stream

TEXTS = ("Hel", "lo ", "wor", "ld")

ODD = 2
"""The number of the delta in whose place a line is poison."""

DELTA = b'{"method":"item/agentMessage/delta","params":{"threadId":"{thread}","turnId":"{turn}",'
ITEM = b'{"method":"item/started","params":{"threadId":"{thread}","turnId":"{turn}","item":'

LARGEST = 3 << 20
"""The longest line of a turn that this server decodes."""

OWN = {
    "not JSON": DELTA + b'"itemId":"m","delta":"wor}\n',
    "not UTF-8": DELTA + b'"itemId":"m","delta":"w\xff\xfer"}}\n',
    "too deep": ITEM + b"[" * 129 + b"]" * 129 + b"}}\n",
    "far too deep": ITEM + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}}\n",
    "never closed": ITEM + b"[{" * 50_000 + b"\n",
    "of another type": DELTA + b'"itemId":"m","delta":["wor"]}}\n',
    "without its text": DELTA + b'"itemId":"m"}}\n',
    "cut by garbage": DELTA + b'"itemId":"m","del\nta":"wor"}}\n',
    "cut by another": DELTA + b'"itemId":"m",' + DELTA + b'"itemId":"m","delta":"wor"}}\n',
    "half of a pair": DELTA + rb'"itemId":"m","delta":"\ud83d"}}' + b"\n",
    "not a number": ITEM + b'{"type":"x","id":NaN}}}\n',
}
"""Lines of a turn that cannot be read."""

NOBODYS = {
    "panic": standin.GARBAGE.encode() + b"\n",
    "control characters": b"\x00\x1b[31m\x07\n",
    "bytes": bytes(range(128, 256)) + b"\n",
    "brackets": b"[" * 100_000 + b"\n",
    "no object": b"null\n[]\n7\n\n",
    "replies to nothing": b'{"id":987,"result":{}}\n{"id":"x","error":{"code":1,"message":"m"}}\n',
    "another's": DELTA.replace(b"{thread}", b"no-such-thread") + b'"itemId":"m","delta":7}}\n',
    "nothing": b"\n",
}
"""Lines about no turn, which stand where one of a turn was lost."""

TURNS = {
    **{name: instep.turn(*TEXTS, instead={ODD: line}) for name, line in (OWN | NOBODYS).items()},
    "large": instep.turn("x", line_bytes=2 << 20),
    "too large": instep.turn(
        *TEXTS, instead={ODD: DELTA + b'"itemId":"m","delta":"%b"}}\n' % (b"x" * LARGEST)}
    ),
}

SO_FAR = expected.role() + expected.content(*TEXTS[:ODD])

UNREADABLE = ("upstream_decode_error", "The worker sent a line that cannot be read.")
TOO_LARGE = ("upstream_event_too_large", "The worker sent a line over the size limit.")
MISMATCH = (
    "upstream_text_mismatch",
    "The whole text of a message does not continue the pieces that were sent of it.",
)


@pytest.fixture(scope="module")
def on() -> Iterator[StandIn]:
    constants = {**codexstage.PROMPTLY, "engine.codex.protocol.largelines.EVENT_BYTES": LARGEST}
    with instep.stand_in(TURNS, constants=constants) as on:
        yield on


@pytest.mark.parametrize("name", OWN)
def test_row_42_a_poisonous_line_costs_its_own_turn(on: StandIn, name: str) -> None:
    answer = instep.ask(on, name, stream=True)
    assert answer.body == SO_FAR + expected.error(*UNREADABLE)
    on.stage.survived("upstream_error", UNREADABLE[0], answer)
    garbled = [each for each in on.stage.story(answer) if isinstance(each, events.UpstreamGarbled)]
    assert len(garbled) == 1
    assert garbled[0].data.startswith('{"method":"item/')
    assert len(garbled[0].data) <= 1024


@pytest.mark.parametrize("name", NOBODYS)
def test_row_42_a_hole_in_a_text_is_found_whatever_stands_there(on: StandIn, name: str) -> None:
    answer = instep.ask(on, name, stream=True)
    said = expected.content(*TEXTS[:ODD], *TEXTS[ODD + 1 :])
    assert answer.body == expected.role() + said + expected.error(*MISMATCH)
    on.stage.survived("upstream_error", MISMATCH[0], answer)


def test_row_42_a_large_line_costs_no_other_turn_a_word(on: StandIn) -> None:
    answer = instep.ask(on, "large", stream=True)
    frames = [json.loads(frame[6:]) for frame in answer.raw.split(b"\n\n")[1:-3]]
    pieces = [frame["choices"][0]["delta"]["content"] for frame in frames]
    assert answer.body == expected.role() + expected.content(*pieces) + expected.ENDED
    assert set("".join(pieces)) == {"x"}
    assert (2 << 20) - 512 < len("".join(pieces)) < 2 << 20
    on.stage.survived("completed", None, answer)


def test_row_42_a_line_over_the_limit_ends_its_own_turn(on: StandIn) -> None:
    answer = instep.ask(on, "too large", stream=True)
    assert answer.body == SO_FAR + expected.error(*TOO_LARGE)
    on.stage.survived("upstream_error", TOO_LARGE[0], answer)


@pytest.fixture(scope="module")
def real() -> Iterator[Binary]:
    settings: dict[str, Any] = {"WORKER_MAX_CONCURRENCY": "4", "PROXY_SSE_MAX_CONCURRENCY": "4"}
    with codexstage.binary(**settings) as real:
        yield real


@pytest.mark.codex
@pytest.mark.parametrize("rest", ["", ", more", "\n"])
def test_row_43_a_whole_text_that_continues_is_completed(real: Binary, rest: str) -> None:
    message = Message(("Hello", " world"), whole="Hello world" + rest)
    with real.neighbours(2):
        _, streamed, whole = real.both(Stream((message,)))
    texts = ("Hello", " world", *([rest] if rest else []))
    assert streamed.body == (
        expected.role(asks_usage=True)
        + expected.content(*texts, asks_usage=True)
        + expected.finish("stop", asks_usage=True)
        + expected.usage(10, 5, 3, 1)
        + expected.DONE
    )
    assert json.loads(whole.raw)["choices"][0]["message"]["content"] == "".join(texts)
    real.stage.survived("completed", None, streamed, whole)


@pytest.mark.codex
@pytest.mark.parametrize("whole", ["Hello brave world", "Hello", "Bye world!!", "hello world"])
def test_row_43_a_whole_text_that_contradicts_its_pieces_is_an_error(
    real: Binary, whole: str
) -> None:
    answer = Stream((Message(("Hello", " world"), whole=whole),))
    with real.neighbours():
        streamed = real.stage.ask(real.plan.prompt(answer), stream=True)
        body = real.stage.ask(real.plan.prompt(answer))
    said = expected.role() + expected.content("Hello", " world")
    assert streamed.body == said + expected.error(*MISMATCH)
    assert (body.status, body.error["code"]) == (502, MISMATCH[0])
    real.stage.survived("upstream_error", MISMATCH[0], streamed, body)
