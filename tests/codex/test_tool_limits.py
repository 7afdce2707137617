"""What an operator may do about calls: end answers at them, limit them, set them apart."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.codex import toolplay, toolwire
from tests.codex.toolplay import Stage, call, function
from tests.support.logs import serverlog
from tests.support.process import machinetime, serving
from tests.support.providers.provider import Provider, Request
from tests.support.providers.replies import Answer, Message, Stream
from tests.support.providers.scripted import Gate

pytestmark = pytest.mark.codex

TOOLS = [function("f"), function("g")]

XML = {"x-proxy-output-mode": "obsidian-xml"}

STREAM = pytest.mark.parametrize("stream", [False, True], ids=["body", "stream"])

FORMS = pytest.mark.parametrize("headers", [{}, XML], ids=["json", "xml"])


def block(name: str, value: str) -> str:
    """A block as a model writes it, which is also its canonical form."""
    return f"<use_tool>\n  <name>{name}</name>\n  <q>{value}</q>\n</use_tool>"


ONE, TWO, THREE = block("f", "secretive"), block("g", "2"), block("f", "3")

TEXTS: dict[str, tuple[str | Gate, ...]] = {
    "three": ("So: ", ONE, " then ", TWO, " and ", THREE, " tail"),
    "split": ("So: ", ONE[:9], ONE[9:40], f"{ONE[40:]} then {TWO[:20]}", TWO[20:], " tail"),
    "repeated": (ONE, ONE, TWO, ONE),
    "words": ("No call ", "at all."),
    "first": ("So: ", ONE + " then " + TWO, " tail", Gate()),
    "burst": ("So: ", ONE, " then ", TWO, Gate()),
    "half": ("So: ", ONE, " then ", TWO[:20], Gate()),
}
"""Answers, by the user's message; those with a gate have no end."""

NATIVE = (
    call(1, '{"q": "secretive"}', "f"),
    call(2, '{"q": "secretive"}', "g"),
    call(3, '{"q":"secretive"}', "f"),
)


def answer(request: Request) -> Answer:
    """By the user's message."""
    if request.prompt == "native":
        return Stream((Message(("So: ",)), *NATIVE))
    return Stream((Message(TEXTS[request.prompt]),))


def ask(stage: Stage, prompt: str, headers: Any = None, **fields: Any) -> toolwire.Told:
    told = toolwire.ask(stage.server, prompt, headers, tools=TOOLS, **fields)
    assert serverlog.recorded(stage.server, told.answer).kind == "completed"
    return told


def names(told: toolwire.Told) -> list[str]:
    return [name for name, _ in told.calls]


@contextlib.contextmanager
def limited(**settings: str) -> Iterator[Stage]:
    with toolplay.stage(answer, **settings) as stage:
        yield stage


@pytest.fixture(scope="module")
def plain() -> Iterator[Stage]:
    with limited() as stage:
        yield stage


@pytest.fixture(scope="module")
def first() -> Iterator[Stage]:
    """A server whose answers end with their first call."""
    settings = {"PROXY_STOP_AFTER_TOOLS": "1", "PROXY_STOP_AFTER_TOOLS_MODE": "first"}
    with limited(**settings) as stage:
        yield stage


GRACE_MS = 200


@pytest.fixture(scope="module")
def burst() -> Iterator[Stage]:
    """A server whose answers end when no call follows within the grace."""
    settings = {
        "PROXY_STOP_AFTER_TOOLS": "1",
        "PROXY_STOP_AFTER_TOOLS_GRACE_MS": str(GRACE_MS),
        "PROXY_STREAM_IDLE_TIMEOUT_MS": "1000",
    }
    with limited(**settings) as stage:
        yield stage


@STREAM
@pytest.mark.parametrize("prompt", ["three", "split", "native"])
def test_without_limits_every_call_is_shown_and_counted(
    plain: Stage, prompt: str, stream: bool
) -> None:
    told = ask(plain, prompt, stream=stream)
    count = {"three": 3, "split": 2, "native": 3}[prompt]
    assert len(told.calls) == count
    assert told.notes == {
        "x-codex-tool-call-count": str(count),
        "x-codex-tool-call-truncated": "false",
    }
    assert "x-codex-stop-after-tools-mode" not in told.answer.headers


@STREAM
def test_of_an_answer_without_calls_nothing_is_counted(plain: Stage, stream: bool) -> None:
    told = ask(plain, "words", stream=stream)
    assert told.notes == {}
    assert told.text == "No call at all."


def test_a_client_that_takes_no_comments_gets_none(plain: Stage) -> None:
    told = ask(plain, "three", {"x-no-keepalive": "1"}, stream=True)
    assert len(told.calls) == 3
    assert told.comments == ()
    assert b"\n:" not in told.answer.raw


@STREAM
@FORMS
def test_an_answer_ends_with_its_first_call(
    first: Stage, headers: dict[str, str], stream: bool
) -> None:
    before = len(first.provider.requests)
    told = ask(first, "first", headers, stream=stream)
    assert told.text == ("So: " + ONE if headers else "So: ")
    assert names(told) == ["f"]
    assert told.finish_reason == "tool_calls"
    assert told.answer.headers["x-codex-stop-after-tools-mode"] == "first"
    # That the turn has no other end is how the provider sees that it was stopped.
    machinetime.until(first.provider.requests[before].left.is_set, machinetime.SECOND)


@STREAM
def test_of_a_whole_step_an_answer_ends_with_its_first_call(first: Stage, stream: bool) -> None:
    told = ask(first, "native", stream=stream)
    assert names(told) == ["f"]
    assert told.notes["x-codex-tool-call-truncated"] == "true"


@STREAM
@FORMS
def test_an_answer_ends_when_no_call_follows(
    burst: Stage, headers: dict[str, str], stream: bool
) -> None:
    before = len(burst.provider.requests)
    begun = time.monotonic()
    told = ask(burst, "burst", headers, stream=stream)
    assert time.monotonic() - begun >= GRACE_MS / 1000
    assert names(told) == ["f", "g"]
    assert told.text == (f"So: {ONE} then {TWO}" if headers else "So:  then ")
    assert told.finish_reason == "tool_calls"
    assert told.answer.headers["x-codex-stop-after-tools-mode"] == "burst"
    machinetime.until(burst.provider.requests[before].left.is_set, machinetime.SECOND)


def test_no_grace_runs_out_within_a_block(burst: Stage) -> None:
    told = toolwire.ask(burst.server, "half", tools=TOOLS, stream=True)
    assert told.frames[-1]["error"]["code"] == "idle_timeout"
    assert serverlog.recorded(burst.server, told.answer).kind == "timeout"


@STREAM
def test_an_answer_without_calls_has_no_grace(burst: Stage, stream: bool) -> None:
    assert ask(burst, "words", stream=stream).finish_reason == "stop"


@STREAM
@pytest.mark.parametrize("prompt", ["three", "native"])
def test_no_more_calls_than_may_be(prompt: str, stream: bool) -> None:
    with limited(PROXY_TOOL_BLOCK_MAX="2") as stage:
        told = ask(stage, prompt, stream=stream)
        assert names(told) == ["f", "g"]
        assert told.notes == {
            "x-codex-tool-call-count": "2",
            "x-codex-tool-call-truncated": "true",
        }
        last = serverlog.recorded(stage.server, told.answer)
        assert (last.tool_calls, last.tool_calls_withheld) == (2, 1)


@STREAM
def test_a_call_just_like_another_is_one(stream: bool) -> None:
    with limited(PROXY_TOOL_BLOCK_DEDUP="1") as stage:
        told = ask(stage, "repeated", stream=stream)
        assert told.calls == [("f", {"q": "secretive"}), ("g", {"q": "2"})]
        told = ask(stage, "native", stream=stream)
        assert names(told) == ["f", "g"]
        assert serverlog.recorded(stage.server, told.answer).tool_calls_withheld == 1


@STREAM
def test_blocks_are_set_apart_and_nothing_follows_them(stream: bool) -> None:
    settings = {
        "PROXY_TOOL_BLOCK_DELIMITER": r"\n--\n",
        "PROXY_SUPPRESS_TAIL_AFTER_TOOLS": "1",
    }
    with limited(**settings) as stage:
        told = ask(stage, "repeated", XML, stream=stream)
        assert told.text == f"{ONE}\n--\n{ONE}\n--\n{TWO}\n--\n{ONE}"
        told = ask(stage, "three", XML, stream=stream)
        assert told.text == f"So: {ONE} then \n--\n{TWO} and \n--\n{THREE}"
        assert len(told.calls) == 3
        told = ask(stage, "three", stream=stream)
        assert told.text == "So:  then  and "


def test_a_masked_log_of_all_this_replays() -> None:
    settings = {
        "PROXY_EVENT_LOG": "masked",
        "PROXY_TOOL_BLOCK_MAX": "2",
        "PROXY_TOOL_BLOCK_DEDUP": "1",
        "PROXY_SUPPRESS_TAIL_AFTER_TOOLS": "1",
        "PROXY_STOP_AFTER_TOOLS": "1",
        "PROXY_STOP_AFTER_TOOLS_GRACE_MS": "50",
    }
    asked = 0
    with Provider(answer) as provider, serving.codex(provider.url, **settings) as server:
        for prompt in ("three", "split", "repeated", "words", "burst", "native"):
            for headers in ({}, XML):
                for fields in ({}, {"stop": ["tail"]}, {"max_tokens": 12}, {"n": 2}):
                    for stream in (False, True):
                        told = toolwire.ask(
                            server, prompt, headers, tools=TOOLS, stream=stream, **fields
                        )
                        assert told.answer.status == 200
                        serverlog.recorded(server, told.answer)
                        asked += 1
        assert server.stop() == 0
        done = server.replay()
        log = b"".join(path.read_bytes() for path in server.log_dir.glob("events-*.jsonl"))
    assert done.returncode == 0, done.stdout
    assert f"{asked} streams" in done.stdout
    assert b"tool_calls" in log
    assert b"secretive" not in log
