"""The client's results: what the model sees of them, in a turn that goes on and in a new one."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.codex import toolplay
from tests.codex.toolplay import PIXEL, Stage, Step, Talk, call
from tests.support.process import codexbinary
from tests.support.providers.provider import Request
from tests.support.providers.replies import Answer, Message, Stream

pytestmark = pytest.mark.codex

LONG = "".join(f"{number}: Zürich 東京 👩‍👧\n" for number in range(4000))
"""A result of more than 48 KB: Codex cuts its own functions' results there."""


def shown() -> list[dict[str, str]]:
    """A text and an image, as the provider gets them; the detail is Codex's own."""
    detail = codexbinary.image_detail()
    image = {"type": "input_image", "image_url": PIXEL, "detail": detail}
    return [{"type": "input_text", "text": "Here."}, image]


CONTENTS: dict[str, tuple[Any, Any]] = {
    "a text": ("sunny", "sunny"),
    "white space": ("  a\r\n\tb \n", "  a\r\n\tb \n"),
    "no text": ("", ""),
    "JSON": ('{"t": 1.50, "t": [null]}', '{"t": 1.50, "t": [null]}'),
    "long": (LONG, LONG),
    "one part": ([{"type": "text", "text": "sunny"}], "sunny"),
    "an image": (
        [{"type": "text", "text": "Here."}, {"type": "image_url", "image_url": {"url": PIXEL}}],
        shown,
    ),
}
"""A tool message's content, and the output that the provider gets, or what makes it."""


def answer(request: Request) -> Answer:
    """Two calls, or as many as the prompt says; then how many results there are."""
    count = len(toolplay.outputs(request.body["input"]))
    if count:
        return Stream((Message((f"{count} results",)),))
    return Stream(tuple(call(number + 1) for number in range(int(request.prompt))))


@pytest.fixture(scope="module", params=["64", "0"], ids=["parked", "anew"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A server whose turns wait for results, and one that sends every history anew."""
    with toolplay.stage(answer, PROXY_PARK_MAX=request.param) as stage:
        yield stage


def results(stage: Stage) -> list[tuple[str, Any]]:
    """The results in the provider's last request, by call."""
    view = stage.provider.requests[-1].body["input"]
    return [
        (item["call_id"], item["output"])
        for item in view
        if item["type"] == "function_call_output"
    ]


@pytest.mark.parametrize("name", CONTENTS)
def test_a_result_reaches_the_model_as_it_is(stage: Stage, name: str) -> None:
    content, output = CONTENTS[name]
    talk = Talk(stage.server, "1")
    talk.step()
    talk.bring(content)
    assert talk.step().message.content == "1 results"
    expected = output() if callable(output) else output
    assert results(stage) == [("call_1", expected)]


@toolplay.both_ways
def test_several_results_find_their_calls_in_any_order(stage: Stage, step: Step) -> None:
    talk = Talk(stage.server, "3")
    step(talk)
    talk.bring("one", "two", "three")
    talk.messages[-3:] = talk.messages[:-4:-1]
    assert step(talk).message.content == "3 results"
    assert sorted(results(stage)) == [("call_1", "one"), ("call_2", "two"), ("call_3", "three")]


@toolplay.both_ways
def test_results_of_earlier_turns_stay_in_the_conversation(stage: Stage, step: Step) -> None:
    talk = Talk(stage.server, "2")
    step(talk)
    talk.bring("one", "two")
    step(talk)
    talk.messages.append({"role": "user", "content": "And now?"})
    assert step(talk).message.content == "2 results"
    view = stage.provider.requests[-1].body["input"]
    assert [item.get("call_id", item.get("role")) for item in view] == [
        "user",
        "call_1",
        "call_2",
        "call_1",
        "call_2",
        "assistant",
        "user",
    ]
    assert results(stage) == [("call_1", "one"), ("call_2", "two")]
    assert [text for _, text in stage.provider.requests[-1].messages] == [
        "2",
        "2 results",
        "And now?",
    ]
