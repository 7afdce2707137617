"""Answers of the real Codex binary that are cut here: their usage is estimated, and says so.

Each is asked for by the SDK in its strict mode, on both APIs, streamed and not.
"""

import concurrent.futures
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from openai import OpenAI

from engine.log.read import segments
from machines import events
from tests.faults import codexstage
from tests.support.client import chatclient
from tests.support.logs import serverlog
from tests.support.process import machinetime, serving
from tests.support.providers.provider import Provider
from tests.support.providers.replies import Message, Reasoning, Stream
from tests.support.providers.scripted import Gate

pytestmark = pytest.mark.codex

INSTRUCTIONS = "Be brief."
PROMPT = "Tell me of 漢字."
TOOL = {"name": "add", "description": "sums up", "parameters": {"type": "object"}}

PROMPT_TOKENS = 14
"""Of 9 + 18 bytes of texts and 3 + 7 + 17 of a tool: 54."""

THOUGHT, THOUGHT_TOKENS = "Let me see.", 3

TEXT = ("漢字 ", "are signs", ", and ", "so on")
"""Of 7 + 9 + 6 + 5 bytes."""


class Told(NamedTuple):
    """What a client is told of one answer.

    Attributes:
        counts: prompt, completion, of these reasoning, and their total.
        mark: the header; None in a stream.
    """

    text: str
    reason: str
    counts: tuple[int, int, int, int]
    mark: str | None


def chat(client: OpenAI, **options: Any) -> Told:
    """A chat completion in one body."""
    raw = client.chat.completions.with_raw_response.create(**_chat(options))
    whole = raw.parse()
    (choice,) = whole.choices
    mark = raw.headers.get("x-turntape-usage")
    return Told(choice.message.content or "", choice.finish_reason, _counts(whole.usage), mark)


def chat_stream(client: OpenAI, **options: Any) -> Told:
    """A chat completion in chunks."""
    chunks = list(
        client.chat.completions.create(
            **_chat(options), stream=True, stream_options={"include_usage": True}
        )
    )
    choices = [choice for chunk in chunks for choice in chunk.choices]
    text = "".join(choice.delta.content or "" for choice in choices)
    (reason,) = filter(None, (choice.finish_reason for choice in choices))
    assert [chunk for chunk in chunks if chunk.usage] == chunks[-1:]
    return Told(text, reason, _counts(chunks[-1].usage), None)


def response(client: OpenAI, **options: Any) -> Told:
    """A response in one body."""
    raw = client.responses.with_raw_response.create(**_response(options))
    mark = raw.headers.get("x-turntape-usage")
    return _told(raw.parse(), mark)


def response_stream(client: OpenAI, **options: Any) -> Told:
    """A response in events."""
    last = None
    for event in client.responses.create(**_response(options), stream=True):
        last = event
    assert last is not None
    assert last.type in ("response.completed", "response.incomplete")
    return _told(last.response, None)


def _told(found: Any, mark: str | None) -> Told:
    usage = found.usage
    counts = usage.input_tokens, usage.output_tokens, usage.output_tokens_details.reasoning_tokens
    reason = found.incomplete_details.reason if found.incomplete_details else found.status
    return Told(found.output_text, reason, (*counts, usage.total_tokens), mark)


def _counts(usage: Any) -> tuple[int, int, int, int]:
    reasoning = usage.completion_tokens_details.reasoning_tokens
    return usage.prompt_tokens, usage.completion_tokens, reasoning, usage.total_tokens


def _chat(options: dict[str, Any]) -> dict[str, Any]:
    said = [
        {"role": "system", "content": INSTRUCTIONS},
        {"role": "user", "content": PROMPT},
    ]
    return {
        "model": "gpt-5.5",
        "messages": said,
        "tools": [{"type": "function", "function": TOOL}],
        **options,
    }


def _response(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": "gpt-5.5",
        "instructions": INSTRUCTIONS,
        "input": PROMPT,
        "tools": [{"type": "function", "strict": False, **TOOL}],
        **options,
    }


CHATS = (chat, chat_stream)
RESPONSES = (response, response_stream)
Way = Callable[..., Told]


class Server(NamedTuple):
    """A server on the real binary, and the SDK's client of it."""

    server: serving.Serve
    client: OpenAI
    content: str

    def last(self) -> events.Terminal:
        """The terminal record of the newest stream."""
        reading = segments.read(self.server.log_dir)
        ends = [record.load() for record in reading if record.event == "terminal"]
        assert isinstance(ends[-1], events.Terminal)
        return ends[-1]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    thought = Reasoning(((THOUGHT,),))
    with Provider(lambda _: Stream((thought, Message((*TEXT, Gate()))))) as provider:
        yield provider


@pytest.fixture(scope="module", params=["full", "masked"])
def on(request: pytest.FixtureRequest, provider: Provider) -> Iterator[Server]:
    settings = {"PROXY_EVENT_LOG": request.param, "WORKER_BACKOFF_INITIAL_MS": "50"}
    with serving.codex(provider.url, **settings) as server:
        client = OpenAI(
            base_url=server.url,
            api_key="k",
            max_retries=0,
            _strict_response_validation=True,
        )
        yield Server(server, client, request.param)
        serverlog.audit(server)


def check(on: Server, told: Told, way: Way, completion: int, kind: str) -> None:
    """Hold what was told to an estimate of so many tokens of text, and the log to it."""
    completion += THOUGHT_TOKENS
    total = PROMPT_TOKENS + completion
    assert told.counts == (PROMPT_TOKENS, completion, THOUGHT_TOKENS, total)
    assert told.mark == (None if way in (chat_stream, response_stream) else "estimated")
    last = on.last()
    usage = events.Usage(PROMPT_TOKENS, completion, reasoning_tokens=THOUGHT_TOKENS)
    assert (last.kind, last.usage, last.usage_source) == (kind, usage, "estimated")


@pytest.mark.parametrize("way", CHATS)
def test_a_stop_sequence(on: Server, way: Way) -> None:
    told = way(on.client, stop=["signs, "])
    assert told[:2] == ("漢字 are ", "stop")
    check(on, told, way, 3, "completed")  # 11 bytes


@pytest.mark.parametrize("way", [*CHATS, *RESPONSES])
def test_a_limit_of_tokens(on: Server, way: Way) -> None:
    name = "max_tokens" if way in CHATS else "max_output_tokens"
    told = way(on.client, **{name: 4})
    reason = "length" if way in CHATS else "max_output_tokens"
    assert told[:2] == ("漢字 are signs", reason)
    check(on, told, way, 4, "completed")  # 16 bytes: a limit is met, and never exceeded


@pytest.mark.parametrize("way", [*CHATS, *RESPONSES])
def test_a_killed_worker(on: Server, way: Way) -> None:
    on.server.wait_ready()
    before = said(on)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        asked = pool.submit(way, on.client)
        machinetime.until(lambda: said(on) == before + len("".join(TEXT)))
        os.kill(codexstage.codex_pid(on.server), signal.SIGKILL)
        told = asked.result()
    reason = "length" if way in CHATS else "max_output_tokens"
    assert told[:2] == ("".join(TEXT), reason)
    check(on, told, way, 7, "truncated")  # 27 bytes


def test_a_stream_says_so_in_a_comment_and_only_if_counts_were_asked_for(on: Server) -> None:
    on.server.wait_ready()
    asks: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    told = chatclient.ask(on.server, PROMPT, **asks, max_tokens=4)
    assert told.comments == ["x-turntape-usage: estimated"]
    assert told.usage is not None
    assert told.usage["total_tokens"] == 5 + 4 + THOUGHT_TOKENS
    silent = chatclient.ask(on.server, PROMPT, stream=True, max_tokens=4)
    assert (silent.comments, silent.usage) == ([], None)
    assert on.last().usage_source == "estimated"


def said(on: Server) -> int:
    """How many code points of answers are in the log."""
    reading = segments.read(on.server.log_dir)
    texts = (record.load() for record in reading if record.event == "text_delta")
    return sum(len(event.text) for event in texts if isinstance(event, events.TextDelta))


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices_have_one_prompt(on: Server, stream: bool) -> None:
    on.server.wait_ready()
    asks: dict[str, Any] = _chat({"max_tokens": 4, "n": 2})
    if stream:
        asks |= {"stream": True, "stream_options": {"include_usage": True}}
        usage = list(on.client.chat.completions.create(**asks))[-1].usage
    else:
        usage = on.client.chat.completions.create(**asks).usage
    completion = 2 * (4 + THOUGHT_TOKENS)
    total = PROMPT_TOKENS + completion
    assert _counts(usage) == (PROMPT_TOKENS, completion, 2 * THOUGHT_TOKENS, total)
    assert on.last().usage_source == "estimated"
