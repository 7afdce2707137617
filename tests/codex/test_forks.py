"""A conversation that no thread goes on with keeps its cache key on the real Codex, by a fork.

It has a source from its first miss on: what was asked before that has another key.
"""

import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.codex import test_prompt_cache as caches, toolplay
from tests.codex.toolplay import Talk
from tests.support.client import httpclient
from tests.support.logs import serverlog
from tests.support.process import machinetime, serving
from tests.support.providers.provider import Provider, Request
from tests.support.providers.replies import Answer, Message, Stream

pytestmark = pytest.mark.codex

SECRET = "peppermint"
"""A word of the client's, which no file of Codex's may hold."""


def answer(request: Request) -> Answer:
    return Stream((Message((f"{request.prompt}: ", "done.")),), usage=toolplay.COUNTS)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(answer) as provider:
        yield provider


def plain(server: serving.Serve, prompt: str, **options: Any) -> Talk:
    """A conversation without functions."""
    return Talk(server, prompt, tools=[], **options)


def cache_keys(requests: Sequence[Request]) -> list[int]:
    """The keys of requests, as numbers in the order in which they are seen first."""
    numbers: dict[str, int] = {}
    for request in requests:
        key = request.body["prompt_cache_key"]
        assert request.headers["session-id"] == key
        numbers.setdefault(key, len(numbers))
    return [numbers[request.body["prompt_cache_key"]] for request in requests]


def ways(server: serving.Serve) -> list[str]:
    """Which way was taken, in order, and why not the cheap one."""
    named = {"thread_reused": "reused", "thread_forked": "forked"}
    return [
        record.get("reason") or named[record["event"]]
        for record in caches.records(server)
        if record.get("event") in ("thread_reused", "reuse_missed", "thread_forked")
    ]


def edit(talk: Talk, text: str) -> toolplay.Reply:
    """Say something else in the middle, and go on."""
    talk.messages[2] = {"role": "user", "content": text}
    return caches.say(talk, f"and {text}")


def begun(server: serving.Serve, prompt: str, **options: Any) -> Talk:
    """A conversation of two questions."""
    talk = plain(server, prompt, **options)
    talk.step()
    caches.say(talk, "more")
    return talk


def test_edits_eviction_and_a_name_keep_the_key(provider: Provider) -> None:
    with serving.codex(provider.url, PROXY_REUSE_MAX="2") as server:
        talk = begun(server, "one")
        edit(talk, "a")
        edit(talk, "b")
        caches.say(talk, "grown")
        assert cache_keys(provider.requests) == [0, 0, 1, 1, 1]
        edited = ["reused", "history_edited", "forked", "history_edited", "forked", "reused"]
        assert ways(server) == edited
        for prompt in ("two", "three"):
            begun(server, prompt)
        before = len(ways(server))
        caches.say(talk, "after")
        assert ways(server)[before:] == ["evicted", "forked"]
        keys = cache_keys(provider.requests)
        assert keys == [0, 0, 1, 1, 1, 2, 2, 3, 3, 1]
        said = [text for role, text in provider.requests[-1].messages if role == "user"]
        assert said == ["one", "b", "and a", "and b", "grown", "after"]
        before = len(provider.requests)
        for prompt in ("a", "b", "c"):
            plain(server, prompt, prompt_cache_key="mine").step()
        plain(server, "d", prompt_cache_key="other").step()
        assert cache_keys(provider.requests[before:]) == [0, 1, 1, 2]
        lines = httpclient.ask(server.base, "GET", "/metrics").body.decode().splitlines()
        for event, count in {"forked": 5, "missed": 3}.items():
            labels = f'event="{event}",worker="codex"'
            assert f"turntape_worker_reuse_total{{{labels}}} {count}.0" in lines
        serverlog.audit(server)


@pytest.mark.slow  # a process that was killed is replaced after half a second
def test_a_process_that_was_replaced_keeps_the_key(provider: Provider) -> None:
    with serving.codex(provider.url) as server:
        talk = begun(server, "one")
        edit(talk, "a")
        pids = [line["pid"] for line in server.lines if line.get("trigger") == "spawned"]
        os.kill(pids[-1], signal.SIGKILL)
        machinetime.until(lambda: server.get("/readyz")[0] == 503)
        server.wait_ready()
        reply = caches.say(talk, "after")
        assert reply.message.content == "after: done."
        assert ways(server)[-2:] == ["worker_lost", "forked"]
        assert cache_keys(provider.requests) == [0, 0, 1, 1]
        serverlog.audit(server)


OPTIONS = {"verbosity": "low", "service_tier": "priority"}
SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}


@pytest.mark.slow  # two servers
def test_the_model_is_shown_the_same_on_a_fork(provider: Provider) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "f", "schema": SCHEMA}}
    image = {"type": "image_url", "image_url": {"url": toolplay.PIXEL}}
    told, sent = [], []
    for forks in ("true", "false"):
        before = len(provider.requests)
        with serving.codex(provider.url, PROXY_FORK_THREADS=forks) as server:
            talk = begun(server, "one")
            replies = [edit(talk, text) for text in ("a", "b")]
            replies.append(caches.say(talk, "grown"))
            talk.messages[2]["content"] = [{"type": "text", "text": "see"}, image]
            replies.append(
                caches.say(talk, "deep", reasoning_effort="high", response_format=form, **OPTIONS)
            )
            talk.messages[2]["content"] = "not"
            replies.append(caches.say(talk, "other", model="gpt-6-sol"))
            assert ways(server).count("forked") == (4 if forks == "true" else 0)
            serverlog.audit(server)
        counts = toolplay.COUNTS
        assert {reply.counts for reply in replies} == {
            (
                counts.input_tokens,
                counts.output_tokens,
                counts.cached_tokens,
                counts.reasoning_tokens,
            )
        }
        told.append(talk.messages)
        sent.append(provider.requests[before:])
    forked, anew = sent
    assert told[0] == told[1]
    own = {"input", "prompt_cache_key", "client_metadata"}
    for one, other in zip(forked, anew, strict=True):
        assert caches.shown(one) == caches.shown(other)
        rest = [{k: v for k, v in each.body.items() if k not in own} for each in (one, other)]
        assert rest[0] == rest[1]
    assert len(set(cache_keys(forked))) == 2


@pytest.mark.slow  # two long conversations
def test_a_cache_has_more_of_a_conversation_with_edits(provider: Provider) -> None:
    shares = []
    for forks in ("true", "false"):
        before = len(provider.requests)
        with serving.codex(provider.url, PROXY_FORK_THREADS=forks) as server:
            talk = plain(server, "question 0")
            talk.step()
            for turn in range(1, caches.TURNS):
                caches.say(talk, f"question {turn}")
                if turn % 3 == 0:
                    talk.messages[-2:] = [{"role": "user", "content": f"other {turn}"}]
                    talk.step()
        # The ids of a history's items are new on each thread, and no model is shown them.
        shares.append(caches.share(provider.requests[before:], caches.shown))
    print(f"a cache could have {shares[0]:.3f} of it, and {shares[1]:.3f} without forks")
    assert shares[0] > shares[1] + 0.1


@pytest.mark.slow  # four provider requests of one turn
def test_a_model_that_calls_what_it_was_not_given_runs_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    patch = f"*** Begin Patch\n*** Add File: {trace}\n+x\n*** End Patch"
    calls = {
        "exec_command": {"cmd": f"touch {trace}"},
        "shell": {"command": ["touch", str(trace)]},
        "apply_patch": {"input": patch},
    }

    def script(request: Request) -> Answer:
        made = len(toolplay.outputs(request.body["input"]))
        if request.prompt == "do" and made < len(calls):
            name = list(calls)[made]
            asks = toolplay.call(made, json.dumps(calls[name]), name)
            return Stream((asks,), usage=toolplay.COUNTS)
        return answer(request)

    with Provider(script) as provider, serving.codex(provider.url) as server:
        talk = begun(server, "one")
        edit(talk, "a")
        talk.messages[2] = {"role": "user", "content": "b"}
        caches.say(talk, "do")
        assert ways(server)[-1] == "forked"
        results = toolplay.outputs(provider.requests[-1].body["input"])
        assert results == [f"unsupported call: {name}" for name in calls]
        assert not trace.exists()


def test_nothing_that_a_client_has_said_is_on_disk(provider: Provider) -> None:
    with serving.codex(provider.url) as server:
        talk = begun(server, SECRET, prompt_cache_key=SECRET)
        edit(talk, f"{SECRET} a")
        edit(talk, f"{SECRET} b")
        assert ways(server)[-1] == "forked"
        home = server.data_dir / "codex-home"
        assert list((home / "sources").iterdir()) == []
        assert not (home / "sessions").exists()  # it would slow down every thread (0.163)
        for file in home.rglob("*"):
            if file.is_file():
                assert SECRET.encode() not in file.read_bytes(), file
