"""Row 45 of the fault matrix, whatever the worker: texts of others, of any length and shape."""

import json
from collections.abc import Callable
from typing import Any, Final

from tests.faults import scene, watched
from tests.support.logs import serverlog
from tests.support.process import heldloop, machinetime

LENGTH: Final = 100_000
"""Characters of a text, where its place takes so many."""

WHOLE_BYTES: Final = 64 << 10
"""More than any answer has that a text of others is in: each part of it is capped."""

MESSAGE: Final = 2000
"""Characters of a message that a client may get."""

SECOND_MS: Final = 1000.0
"""CPU time that one answer may cost."""

_PATTERNS: Final = {
    "letters": "a",
    "host names": "a.",
    "labels": "a-",
    "numbers": "9",
    "addresses": "1.",
    "longer addresses": "a:",
    "brackets": "[",
    "keys": "sk-",
    "words before keys": "Bearer ",
    "protocols": "a+:/",
    "spaces": " ",
    "lines": "\r\n",
    "ends of events": "\n\ndata: [DONE]\n\n",
    "control characters": "\x00\x1b[31m",
    "tags": "<use_tool>",
    "three bytes each": "漢",
    "halves of pairs": "\ud83d",
}

TEXTS: Final = {name: each * (LENGTH // len(each)) for name, each in _PATTERNS.items()}
"""Texts that are the worst for one reader or another."""


def briefly(server: watched.ObservedServe, act: Callable[[], None]) -> None:
    """Do something: no callback of the loop takes long, and each of the texts costs little."""
    held = server.least_of(act)
    assert held["longest_ms"] < heldloop.LIMIT_MS, held
    assert held["total_ms"] < SECOND_MS * len(TEXTS), held


def check(stage: scene.Stage, answer: scene.Answer) -> None:
    """An answer that is one, whatever text of others is in it."""
    assert answer.whole
    assert len(answer.raw) < WHOLE_BYTES
    assert answer.status in (200, 400, 401, 403, 404, 422, 429, 502)
    if answer.status != 200:
        check_error(answer.error)
    elif b'"error":{' in answer.raw:
        *_, frame, _ = answer.raw.split(b"\n\n")
        check_error(json.loads(frame.removeprefix(b"data: "))["error"])
    machinetime.until(lambda: serverlog.has_ended(stage.server, answer.request_id))
    last = serverlog.terminal(stage.server, answer.request_id)
    assert last.kind in ("completed", "upstream_error", "empty")


def check_error(error: dict[str, Any]) -> None:
    """An error that people can read."""
    assert 0 < len(error["message"]) <= MESSAGE
    for name in ("code", "param"):
        assert len(error[name] or "") <= MESSAGE
