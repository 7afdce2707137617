"""Row 44 of the fault matrix, whatever the worker: what is nested up to and past the limit."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Final

import pytest

from tests.faults import expected, scene
from tests.support.process import serving

DEPTHS: Final = (127, 128, 129, 950, 5000)
"""Levels of arrays and objects."""

LIMIT: Final = 128
"""How many of them are read, as `docs/api.md` has it."""

STACKS: Final = (400, 1000, 100_000)
"""Limits on recursion that a replay is run with: about the least that its program can be loaded
with, the usual, and far more than it needs."""

RUN: Final = """
import sys
from server.cli import command_line as cli
sys.setrecursionlimit(int(sys.argv.pop(1)))
sys.exit(cli.main())
"""
"""The command line on another stack."""

each = pytest.mark.parametrize("levels", DEPTHS)
"""A test of each."""

FUNCTION: Final = {"type": "function", "function": {"name": "f", "parameters": {}}}


def nested(levels: int) -> str:
    """A JSON text of so many levels, of both kinds."""
    pairs, odd = divmod(levels, 2)
    return "[" * odd + '[{"a":' * pairs + "1" + "}]" * pairs + "]" * odd


def is_read(levels: int) -> bool:
    """Whether so many levels are read."""
    return levels <= LIMIT


Put = Callable[[str], str]
"""Puts a value into the members of a request."""

MESSAGES: Final = '"messages":[{"role":"user","content":"hi"}]'

CHAT: Final[Mapping[str, tuple[int, Put]]] = {
    "a field of nobody": (1, lambda value: f'{MESSAGES},"x":{value}'),
    "a message": (
        3,
        lambda value: f'"messages":[{{"role":"user","content":"hi","x":{value}}}]',
    ),
    "a function": (
        5,
        lambda value: (
            f'{MESSAGES},"tools":[{{"type":"function",'
            f'"function":{{"name":"f","parameters":{{"default":{value}}}}}}}]'
        ),
    ),
}
"""Places in a chat request, and the levels around them."""

RESPONSES: Final[Mapping[str, tuple[int, Put]]] = {
    "a field of nobody": (1, lambda value: f'"input":"hi","x":{value}'),
    "an item": (
        3,
        lambda value: f'"input":[{{"role":"user","content":"hi","x":{value}}}]',
    ),
    "a function": (
        4,
        lambda value: (
            '"input":"hi","tools":[{"type":"function","name":"f",'
            f'"parameters":{{"default":{value}}}}}]'
        ),
    ),
}
"""Places in a request for a response."""


def check_requests(stage: scene.Stage, levels: int) -> None:
    """Each is answered up to the limit, and refused beyond it."""
    for path, places in (("/chat/completions", CHAT), ("/responses", RESPONSES)):
        for name, (around, put) in places.items():
            fields = put(nested(levels - around))
            held = stage.server.measure(path, f'{{"model":"{scene.MODEL}",{fields}}}'.encode())
            if is_read(levels):
                assert held.status == 200, (path, name, held.body)
                assert b"Hello" in held.body
            else:
                assert (held.status, held.error["code"]) == (400, "invalid_json"), (path, name)


def check_replays(stage: scene.Stage) -> None:
    """The log is read and computed again the same on every stack."""
    said = set()
    for limit in STACKS:
        done = subprocess.run(
            (sys.executable, "-c", RUN, str(limit), "replay", str(stage.server.log_dir)),
            cwd=serving.ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said.add(done.stdout)
    assert len(said) == 1


def call_of(answer: scene.Answer) -> tuple[str, str]:
    """Name and arguments of the one call of a chat completion."""
    (choice,) = json.loads(answer.raw)["choices"]
    (call,) = choice["message"]["tool_calls"]
    return call["function"]["name"], call["function"]["arguments"]


def block(value: str) -> str:
    """A call in the text."""
    return f"<use_tool><name>f</name><x>{value}</x></use_tool>"


def check_block(streamed: scene.Answer, whole: scene.Answer, value: str) -> None:
    """A call in the text is a call, and its argument the text that stood there."""
    name, arguments = call_of(whole)
    assert (name, json.loads(arguments)) == ("f", {"x": value})
    assert expected.as_json({"arguments": arguments})[1:-1] in streamed.body
    end = expected.call_count(1) + expected.finish("tool_calls") + expected.DONE
    assert streamed.body.endswith(end)
