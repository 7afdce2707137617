"""Row 46 of the fault matrix, whatever the worker: the most of each repeated item.

That time grows with the items, and no faster, is held by `tests/server/test_linear_requests.py`,
`tests/machines` and `tests/engine`; here it is the longest that all others wait.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.faults import scene
from tests.support.logs import serverlog
from tests.support.process import heldloop, machinetime
from tests.support.requests import largebodies

ITEMS: Final = 16_384
"""How many items of a kind a request may have. Source: `docs/api.md`, as the next."""

FUNCTIONS: Final = 512
"""How many functions."""

REQUESTS: Final = {
    "messages": ITEMS,
    "calls": ITEMS,
    "calls and results": ITEMS // 2 - 1,
    "parts": ITEMS,
    "tools": FUNCTIONS,
    "properties of a function": 6000,
    "unknown fields": ITEMS - 5,
}
"""How many there are of what `tests.support.requests.largebodies` has: of the last but one, 256
KiB."""

CALLS: Final = 1024
"""How many calls a choice may have, unless a setting says otherwise."""

each = pytest.mark.parametrize("kind", REQUESTS)
"""A test of each."""


def ask(stage: scene.Stage, kind: str) -> Any:
    """Ask for a stream with the biggest request of a kind, and give the request.

    It is answered as any other, and no callback of the loop is long.
    """
    _, fill = largebodies.KINDS[kind]
    body = fill(REQUESTS[kind])[:-1] + b',"stream":true}'
    held = stage.server.measure_least("/chat/completions", body)
    assert held.status == 200, held.body
    assert held.body.endswith(b"data: [DONE]\n\n")
    assert held.longest_ms < heldloop.LIMIT_MS, held.where
    return json.loads(body)


def answered(stage: scene.Stage, prompt: str, **fields: Any) -> scene.Answer:
    """The last answer of some tries: each is whole, and one of them held nobody up."""
    answers: list[scene.Answer] = []

    def ask() -> None:
        with stage.asked(prompt, stream=True, **fields) as asked:
            answer = asked.answer()
        assert (answer.status, answer.whole) == (200, True)
        machinetime.until(lambda: serverlog.has_ended(stage.server, answer.request_id))
        answers.append(answer)

    held = stage.server.least_of(ask)
    assert held["longest_ms"] < heldloop.LIMIT_MS, held["where"]
    return answers[-1]


def deltas(answer: scene.Answer) -> Iterator[dict[str, Any]]:
    """What a stream says, chunk by chunk."""
    for frame in answer.raw.split(b"\n\n")[:-2]:
        if frame.startswith(b"data: "):
            for choice in json.loads(frame[6:])["choices"]:
                yield choice["delta"]


def arguments(answer: scene.Answer) -> dict[int, str]:
    """The arguments of each call, by its index."""
    found: dict[int, str] = {}
    for delta in deltas(answer):
        for call in delta.get("tool_calls", ()):
            found[call["index"]] = found.get(call["index"], "") + call["function"]["arguments"]
    return found


def text(answer: scene.Answer) -> str:
    """All that it says."""
    return "".join(delta.get("content", "") for delta in deltas(answer))
