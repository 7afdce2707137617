"""No word of a request or an answer is where the docs say that none is.

A word of its own is in every place where a client, or who stands behind the server, may write one.
Content must be nowhere but in the answer to its client. Names of models, functions and fields, ids
and paths may be in the event log and in the diagnostics, as far as they are spelled as names
(`docs/events.md`), and nowhere else.
"""

import contextlib
import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.server.plain import KEY, ask
from tests.support.client import httpclient
from tests.support.logs import linecheck
from tests.support.process import machinetime, serving
from tests.support.providers import replies, scripted, upstreams
from tests.support.providers.provider import Provider, Request
from tests.support.providers.upstreams import chunk, framed, sse

pytestmark = pytest.mark.slow

ADMIN = "admin-key-1234567890"
OTHERS = "other-client-1234567890"
SECRETS = {"PROXY_API_KEY": KEY, "PROXY_ADMIN_KEY": ADMIN}

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"


class Words:
    """Words that nothing else holds, each with the place where it was planted."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.content: dict[str, str] = {}
        self.names: dict[str, str] = {}

    def word(self, place: str) -> str:
        """A word that no output may hold."""
        return self._new(self.content, place)

    def name(self, place: str) -> str:
        """A name, which the event log and the access lines may hold."""
        return self._new(self.names, place)

    def sentence(self, place: str) -> str:
        """What is no name where one is expected."""
        return f"Oh {self.word(place)}, no"

    def found(self, where: str, output: bytes, *, names: bool) -> list[str]:
        """The places whose words are in an output.

        Args:
            names: whether it may hold names.
        """
        folded = output.decode(errors="replace").casefold()
        searched = self.content if names else self.content | self.names
        return [f"{where}: {place}" for word, place in searched.items() if word in folded]

    def _new(self, kept: dict[str, str], place: str) -> str:
        word = f"qz{next(self._numbers)}planted"
        kept[word] = place
        return word


class Case(NamedTuple):
    """One request, and what becomes of it."""

    path: str
    stream: bool
    outcome: str


CASES = [
    Case(path, stream, outcome)
    for path in (CHAT, RESPONSES)
    for stream in (False, True)
    for outcome in ("accepted", "refused", "failed", "broken", "invalid")
]


def schema(words: Words) -> dict[str, Any]:
    """A schema with words in all that is free text in it."""
    return {
        "type": "object",
        "title": words.word("schema title"),
        "description": words.word("schema description"),
        "$comment": words.word("schema comment"),
        "properties": {
            words.name("schema property"): {
                "type": "string",
                "description": words.word("property description"),
                "enum": [words.word("schema enum")],
                "default": words.word("schema default"),
                "pattern": words.word("schema pattern"),
                "examples": [words.word("schema example")],
            }
        },
        "required": [],
        words.name("schema unknown keyword"): words.word("schema unknown value"),
    }


def shared(words: Words, case: Case) -> dict[str, Any]:
    """What requests of both endpoints may hold."""
    return {
        "model": words.name("model"),
        "stream": case.stream,
        "user": words.word("user"),
        "safety_identifier": words.word("safety_identifier"),
        "prompt_cache_key": words.word("prompt_cache_key"),
        "metadata": {words.word("metadata key"): words.word("metadata value")},
        "store": False,
        words.name("unknown member"): {words.word("inner member"): words.word("inner value")},
    }


def chat_body(words: Words, case: Case, prompt: str) -> dict[str, Any]:
    call = {
        "id": words.name("call id"),
        "type": "function",
        "function": {
            "name": words.name("name of an earlier call"),
            "arguments": json.dumps({words.word("argument"): words.word("argument value")}),
        },
    }
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": words.word("system message")},
        {"role": "developer", "content": words.word("developer message")},
        {"role": "user", "name": words.word("name of a user"), "content": words.word("user")},
        {"role": "assistant", "content": words.word("assistant"), "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": words.word("tool result")},
        {"role": "user", "content": [{"type": "text", "text": words.word("text part")}]},
        {"role": "user", "content": prompt},
    ]
    function = {
        "name": words.name("function"),
        "description": words.word("function description"),
        "parameters": schema(words),
    }
    body = {
        **shared(words, case),
        "messages": messages,
        "tools": [{"type": "function", "function": function}],
        "stop": [words.word("stop sequence")],
        "response_format": {
            "type": "json_schema",
            "json_schema": {
                "name": words.name("name of a format"),
                "description": words.word("description of a format"),
                "schema": schema(words),
            },
        },
    }
    if case.outcome == "invalid":
        file = {"filename": words.word("file name"), "file_data": words.word("file data")}
        messages[0] = {"role": words.sentence("role"), "content": [{"type": "file", "file": file}]}
    return body


def responses_body(words: Words, case: Case, prompt: str) -> dict[str, Any]:
    call_id = words.name("call id")
    items: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "input_text", "text": words.word("input text")}]},
        {
            "type": "function_call",
            "call_id": call_id,
            "name": words.name("name of an earlier call"),
            "arguments": json.dumps({words.word("argument"): words.word("argument value")}),
        },
        {
            "type": "function_call_output",
            "call_id": call_id,
            "output": words.word("function output"),
        },
        {"role": "user", "content": prompt},
    ]
    body = {
        **shared(words, case),
        "instructions": words.word("instructions"),
        "input": items,
        "tools": [
            {
                "type": "function",
                "name": words.name("function"),
                "description": words.word("function description"),
                "parameters": schema(words),
            }
        ],
        "text": {
            "format": {
                "type": "json_schema",
                "name": words.name("name of a format"),
                "schema": schema(words),
            }
        },
    }
    if case.outcome == "invalid":
        items[0] = {"type": words.sentence("item type"), "x": words.word("value of an item")}
    return body


def headers(words: Words, case: Case) -> dict[str, str]:
    """Headers of a request with words in them; one that is refused has a key that is wrong."""
    key = words.word("wrong key") if case.outcome == "refused" else KEY
    return {
        "authorization": f"Bearer {key}",
        "user-agent": words.word("user agent"),
        "cookie": f"session={words.word('cookie')}",
        "referer": f"https://{words.word('referring host')}.example/",
        "x-own": words.word("header"),
        "openai-organization": words.word("organization"),
        "x-request-id": words.name("request id"),
        "traceparent": words.word("trace"),
    }


def send(server: serving.Serve, words: Words, case: Case, prompt: str) -> int:
    """Send a request; its status."""
    make = chat_body if case.path == CHAT else responses_body
    body = make(words, case, prompt)
    query = f"?{words.word('query name')}={words.word('query value')}"
    own = headers(words, case)
    path = case.path + query
    with httpclient.begin(server.base, "POST", path, body, own) as asked:
        return asked.response_or_part().status


def no_such_thing(server: serving.Serve, words: Words) -> None:
    """Requests that are none: a path, a method, a parameter, a body of no JSON."""
    own = {"authorization": f"Bearer {KEY}", "content_type": "application/json"}
    ask(server, "GET", f"/v1/{words.name('path')}?{words.word('query of no route')}=1", **own)
    ask(server, "GET", f"/v1/a%20{words.word('path that is no name')}(,)", **own)
    ask(server, "GET", f"/v1/responses/{words.word('id of a response')}", **own)
    ask(server, "GET", f"/v1/models/{words.word('id of a model')}", **own)
    ask(server, "POST", CHAT, f'{{"{words.word("broken JSON")}'.encode(), **own)
    ask(server, "POST", CHAT, {"model": 1, "messages": words.word("wrong type")}, **own)
    previous = {"model": "m", "input": "x", "previous_response_id": words.word("previous id")}
    ask(server, "POST", RESPONSES, previous, **own)


NEVER_KEPT = {
    *("wrong key", "cookie", "header", "organization", "referring host", "trace", "user agent"),
    *("query name", "query value", "query of no route", "header of an upstream"),
    # Of what was refused as a whole nothing is kept but the error.
    *("broken JSON", "wrong type", "id of a model", "value of an item"),
}
"""Places whose words are in no log, whatever it keeps of contents."""

Looked = tuple[str, bytes, bool]
"""An output by its name, and whether names may be in it."""


def outputs(server: serving.Serve, data_dir: Path, settings: dict[str, str]) -> Iterator[Looked]:
    """Everything that somebody else than the client of a request may read."""
    other = {"authorization": f"Bearer {OTHERS}", "content_type": "application/json"}
    for path in ("/metrics", "/healthz", "/readyz", "/"):
        yield path, ask(server, "GET", path).body, False
    body = {"model": 1}
    for path in (CHAT, RESPONSES):
        yield f"refusal of {path}", ask(server, "POST", path, body, **other).body, False
    own = {**other, "authorization": f"Bearer {KEY}"}
    yield "error to another", ask(server, "POST", CHAT, {"model": "x"}, **own).body, False
    doctor = subprocess.run(
        (sys.executable, "-m", "server", "doctor", "--json"),
        cwd=serving.ROOT,
        env={**settings, "PATH": "/usr/bin:/bin", "PROXY_DATA_DIR": str(data_dir)},
        capture_output=True,
        check=False,
    )
    assert json.loads(doctor.stdout)["checks"]
    yield "doctor", doctor.stdout + doctor.stderr, True
    assert server.stop() == 0
    yield "diagnostics", json.dumps(server.lines, ensure_ascii=False).encode(), True
    files = [each for each in data_dir.rglob("*") if each.is_file()]
    assert any("events-" in each.name for each in files)
    for each in files:
        yield str(each.relative_to(data_dir)), each.read_bytes(), each.parent.name == "log"


def check(server: serving.Serve, words: Words, data_dir: Path, settings: dict[str, str]) -> None:
    """Look for every word in everything."""
    assert len(words.content) > 300
    leaks = []
    for where, output, names in outputs(server, data_dir, settings):
        assert output or where not in ("/metrics", "doctor", "diagnostics")
        leaks += words.found(where, output, names=names)
        secrets = [name for name, value in SECRETS.items() if value.encode() in output]
        assert secrets == [], where
    assert leaks == [], "\n".join(sorted(set(leaks)))
    assert linecheck.unlike(server.lines) == []
    kinds = {line["kind"] for line in server.lines if line.get("component") == "access"}
    assert kinds >= {"completed", "rejected", "upstream_error"}


def failure(words: Words, status: int) -> upstreams.Answer:
    """An error of an upstream with words in all of it."""
    error = {
        "message": f"No: {words.word('message of an error')}",
        "type": words.sentence("type of an error"),
        "code": words.sentence("code of an error"),
        "param": words.sentence("param of an error"),
        "detail": {words.word("member of an error"): words.word("value in an error")},
    }
    header = f"x-upstream: {words.word('header of an upstream')}"
    return upstreams.response(status, {"error": error}, header)


def answer(words: Words) -> upstreams.Answer:
    """An answer with a word in each of its places."""
    function = {"name": words.name("called function"), "arguments": ""}
    call = {"index": 0, "id": words.name("id of a call"), "type": "function", "function": function}
    more = {"index": 0, "function": {"arguments": f'{{"{words.word("call argument")}":1}}'}}

    def delta(**members: Any) -> dict[str, Any]:
        return chunk(choices=[{"index": 0, "delta": members, "finish_reason": None}])

    return upstreams.stream(
        chunk(words.word("answer")),
        delta(reasoning_content=words.word("reasoning")),
        delta(content=f"<use_tool> {words.word('tool block')}"),
        delta(refusal=words.word("refusal")),
        delta(tool_calls=[call]),
        delta(tool_calls=[more]),
        delta(**{words.name("member of a delta"): words.word("value of a delta")}),
        chunk(finish=words.sentence("finish word")),
    )


def broken(words: Words) -> upstreams.Answer:
    """An answer that is no JSON after its first word."""
    begin = sse(chunk(words.word("beginning")), f"{{{words.word('no JSON')}")
    return [upstreams.STREAM_HEAD + framed(begin), "close"]


PLANNED: dict[str, Callable[[Words], upstreams.Answer]] = {
    "accepted": answer,
    "failed": lambda words: failure(words, 500),
    "broken": broken,
    "refused": answer,
    "invalid": lambda words: failure(words, 400),
}


@contextlib.contextmanager
def before_upstream(
    data_dir: Path, words: Words, content: str
) -> Iterator[tuple[serving.Serve, dict[str, str]]]:
    """A server that has been asked for everything, and its settings."""
    with upstreams.Hosted() as upstream:
        settings = {
            **SECRETS,
            "PROXY_EVENT_LOG": content,
            "PROXY_LOG_LEVEL": "debug",
            "PROXY_WORKER": "upstream",
            "PROXY_UPSTREAM_URL": upstream.url,
            "PROXY_PROTECT_MODELS": "true",
        }
        with serving.running(data_dir=data_dir, **settings) as server:
            for case in CASES:
                send(server, words, case, upstream.prompt(PLANNED[case.outcome](words)))
            left(server, upstream, words)
            no_such_thing(server, words)
            yield server, settings


def test_words_of_clients_and_an_upstream_are_nowhere(tmp_path: Path) -> None:
    words = Words()
    with before_upstream(tmp_path / "data", words, "masked") as (server, settings):
        check(server, words, tmp_path / "data", settings)


def test_a_log_that_keeps_contents_has_them(tmp_path: Path) -> None:
    """So they have come as far as the log, and it is the mask that takes them out."""
    words = Words()
    with before_upstream(tmp_path / "data", words, "full") as (server, _):
        server.stop()
        log = b"".join(path.read_bytes() for path in server.log_dir.glob("events-*.jsonl"))
    kept = {place.removeprefix("log: ") for place in words.found("log", log, names=True)}
    assert set(words.content.values()) - kept == NEVER_KEPT


def left(server: serving.Serve, upstream: upstreams.Hosted, words: Words) -> None:
    """A stream whose client leaves in its middle."""
    hello = framed(sse(chunk(f"{words.word('text that was left')} Hello")))
    prompt = upstream.prompt([upstreams.STREAM_HEAD + hello, scripted.Gate()])
    body = chat_body(words, Case(CHAT, True, "left"), prompt)
    own = headers(words, Case(CHAT, True, "left"))
    with httpclient.begin(server.base, "POST", CHAT, body, own) as asked:
        asked.until(b"Hello")
        asked.leave()
    machinetime.until(lambda: any(x.get("kind") == "client_gone" for x in server.lines))


@pytest.mark.codex
def test_words_of_clients_and_codex_are_nowhere(tmp_path: Path) -> None:
    words = Words()
    data_dir = tmp_path / "data"
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(Provider(lambda request: codex_answer(words, request)))
        settings = {
            **SECRETS,
            "PROXY_LOG_LEVEL": "debug",
            "PROXY_CODEX_BASE_URL": provider.url,
            "PROXY_CODEX_API_KEY": "sk-provider-1234567890",
            "PROXY_CODEX_MODELS": "planted-model",
        }
        server = stack.enter_context(serving.running(data_dir=data_dir, **settings))
        for case in CASES:
            send(server, words, case, f"do {case.outcome}")
            send_known(server, words, case)
        no_such_thing(server, words)
        check(server, words, data_dir, settings)


def send_known(server: serving.Serve, words: Words, case: Case) -> None:
    """The same for a model that there is, without what Codex cannot do."""
    make = chat_body if case.path == CHAT else responses_body
    body = {**make(words, case, f"do {case.outcome}"), "model": "codex-5"}
    own = headers(words, case)
    with httpclient.begin(server.base, "POST", case.path, body, own) as asked:
        asked.response_or_part()


def codex_answer(words: Words, request: Request) -> replies.Answer:
    """What Codex's provider says to a prompt."""
    outcome = request.prompt.rpartition(" ")[2]
    if outcome in ("failed", "invalid", "refused"):
        error = {
            "message": f"No: {words.word('message of a provider')}",
            "code": words.sentence("code of a provider"),
            "param": words.sentence("param of a provider"),
        }
        return replies.HttpError(400, {"error": error})
    items = (
        replies.Reasoning(((words.word("summary"),),), (words.word("thought of a model"),)),
        replies.Message((words.word("text of a model"),)),
    )
    if outcome == "broken":
        failed = replies.Failed("server_error", words.word("message of a failure"))
        return replies.Stream(items, failed)
    return replies.Stream(items)
