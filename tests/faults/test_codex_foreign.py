"""Row 45 of the fault matrix: what Codex and its provider write, of any length and shape."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bench import standin
from tests.faults import codexstage, foreign, instep, observed
from tests.faults.codexstage import Binary, StandIn
from tests.support.providers.replies import Answer, Failed, HttpError, Incomplete, Message, Stream

Line = dict[str, Any]


def line(method: str, **params: Any) -> Line:
    return {"method": method, "params": {"threadId": "{thread}", "turnId": "{turn}", **params}}


def failed(message: str, info: Any = None, **members: Any) -> Line:
    """The end of a turn that failed."""
    error = {"message": message, "codexErrorInfo": info, **members}
    turn = {"id": "{turn}", "items": [], "status": "failed", "error": error}
    return line("turn/completed", turn=turn)


def begun(**members: Any) -> Line:
    """The beginning of an item."""
    return line("item/started", item={"type": "agentMessage", "id": "m", "text": "", **members})


PLACES: dict[str, Callable[[str], Line]] = {
    "message": failed,
    "the provider's body": lambda text: failed(
        json.dumps({"error": {"message": text, "code": text, "param": text}})
    ),
    "incomplete": lambda text: failed(f"Incomplete response returned, reason: {text}"),
    "word": lambda text: failed("No.", text),
    "word with a detail": lambda text: failed("No.", {text: {"httpStatusCode": 400}}),
    "details": lambda text: failed("No.", "badRequest", additionalDetails=text),
    "an error that is tried again": lambda text: line(
        "error", error={"message": text, "codexErrorInfo": text}, willRetry=True
    ),
    "type of an item": lambda text: begun(type=text),
    "id of an item": lambda text: begun(id=text),
    "phase": lambda text: begun(phase=text),
    "method": lambda text: line(text),
    "a member": lambda text: line("item/started", item={"type": "other", "id": "o", text: text}),
}
"""Lines of a turn with a text of others, by where it stands."""


def prompt(place: str, name: str) -> str:
    return f"{place}: {name}"


@pytest.fixture(scope="module")
def on() -> Iterator[StandIn]:
    turns = {
        prompt(place, name): standin.Turn(deltas=2, before=(json.dumps(PLACES[place](text)),))
        for place in PLACES
        for name, text in foreign.TEXTS.items()
    }
    with instep.stand_in(turns, **{observed.MEASURED: "1"}) as on:
        yield on


@pytest.mark.long(usual=("message", "type of an item"))
@pytest.mark.parametrize("place", PLACES)
def test_row_45_whatever_codex_writes_is_read_in_no_time(on: StandIn, place: str) -> None:
    def ask() -> None:
        for name in foreign.TEXTS:
            foreign.check(on.stage, on.stage.ask(prompt(place, name), stream=True))

    with instep.beside(on):
        foreign.briefly(on.stage.server, ask)
    on.stage.released()


@pytest.fixture(scope="module")
def real() -> Iterator[Binary]:
    settings: dict[str, Any] = {
        "WORKER_MAX_CONCURRENCY": "4",
        "PROXY_SSE_MAX_CONCURRENCY": "4",
        observed.MEASURED: "1",
    }
    with codexstage.binary(**settings) as real:
        yield real


PROVIDERS: dict[str, Callable[[str], Answer]] = {
    "error": lambda text: HttpError(400, {"error": {"message": text, "code": text}}),
    "event": lambda text: Stream((Message(("Hello",)),), end=Failed("invalid_prompt", text)),
    "reason": lambda text: Stream((Message(("Hello",)),), end=Incomplete(text)),
}
"""Answers of the provider with a text of its own, by where it stands."""


@pytest.mark.long(usual=("event",))
@pytest.mark.codex
@pytest.mark.parametrize("place", PROVIDERS)
def test_row_45_whatever_a_provider_writes_is_read_in_no_time(real: Binary, place: str) -> None:
    def ask() -> None:
        for name in ("host names", "longer addresses", "lines", "three bytes each"):
            answer = PROVIDERS[place](foreign.TEXTS[name])
            asked = real.plan.prompt(*[answer] * 10)
            foreign.check(real.stage, real.stage.ask(asked, stream=True))

    with real.neighbours():
        foreign.briefly(real.stage.server, ask)
    real.stage.released()
