"""A conversation's prompts are one prefix after the other, under one key, on the real Codex.

The provider keeps what a cache could: of each request the items that it has seen at the start of
an earlier one with the same `prompt_cache_key`.
"""

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.codex.child import home as codexhome
from engine.codex.protocol import appserver
from tests.codex import toolplay
from tests.codex.toolplay import Talk, call
from tests.support.client import httpclient
from tests.support.logs import serverlog
from tests.support.process import machinetime, serving
from tests.support.providers import pipe
from tests.support.providers.provider import Provider, Request
from tests.support.providers.replies import Answer, Message, Reasoning, Stream

pytestmark = pytest.mark.codex

TURNS = 10
"""Questions of the long conversation; each is a call, its result, and words."""

ADD = toolplay.function("add", {"type": "object", "properties": {}})


def answer(request: Request) -> Answer:
    """A call where the user asks for one, then words; of each with a thought where it is asked."""
    number = len(request.body["input"])
    thought = [Reasoning((("Hm.",),), encrypted_content="c2VhbGVk")] * ("think" in request.prompt)
    last = request.body["input"][-1]
    if "call" in request.prompt and last["type"] == "message":
        return Stream((*thought, call(number, "{}", "add")), usage=toolplay.COUNTS)
    return Stream((*thought, Message((f"{request.prompt}: ", "done."))), usage=toolplay.COUNTS)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(answer) as provider:
        yield provider


def sent(request: Request) -> list[Any]:
    items: list[Any] = request.body["input"]
    return items


def cached(
    requests: Sequence[Request], shown: Callable[[Request], list[Any]] = sent
) -> list[tuple[int, int]]:
    """Of each request the bytes that a cache could have, and those that it has in all."""
    seen: dict[str, set[tuple[str, ...]]] = {}
    found = []
    for request in requests:
        items = tuple(json.dumps(item) for item in shown(request))
        known = seen.setdefault(request.body["prompt_cache_key"], set())
        prefixes = [items[:count] for count in range(len(items), -1, -1)]
        longest = next((each for each in prefixes if each in known), ())
        known.update(prefixes)
        found.append((sum(map(len, longest)), sum(map(len, items))))
    return found


def share(requests: Sequence[Request], shown: Callable[[Request], list[Any]] = sent) -> float:
    pairs = cached(requests, shown)
    return sum(known for known, _ in pairs) / sum(size for _, size in pairs)


def keys(requests: Sequence[Request]) -> set[str]:
    return {request.body["prompt_cache_key"] for request in requests}


def long_talk(server: serving.Serve, ask: str = "call", **options: Any) -> Talk:
    """A conversation that only grows."""
    talk = Talk(server, f"{ask} 0", tools=[ADD], **options)
    for turn in range(TURNS):
        if turn:
            talk.messages.append({"role": "user", "content": f"{ask} {turn}"})
        while talk.step().calls:
            talk.bring(f"result {turn}")
    return talk


def native(provider: Provider, directory: Path) -> list[Request]:
    """The same conversation as one thread of Codex has it."""
    setup = codexhome.Setup(data_dir=directory, base_url=provider.url, has_key=True)
    codexhome.prepare(setup)
    before = len(provider.requests)
    with pipe.Pipe(setup) as its:
        its.handshake()
        its.login("sk-test")
        tool = appserver.DynamicTool("add", "", _raw({"type": "object", "properties": {}}))
        thread = its.start(
            appserver.ThreadStartParams(
                model="gpt-5.5",
                cwd=str(setup.cwd),
                experimental_raw_events=True,
                dynamic_tools=(tool,),
            ),
            pipe.message("user", "call 0"),
        )
        for turn in range(TURNS):
            if turn:
                said = (_raw(pipe.message("user", f"call {turn}")),)
                its.call("thread/inject_items", appserver.ThreadInjectItemsParams(thread, said))
            its.call("turn/start", appserver.TurnStartParams(thread_id=thread))
            its.bring(turn + 1, f"result {turn}")
            its.until_turns_ended(turn + 1)
    return provider.requests[before:]


def _raw(value: Any) -> Any:
    return msgspec.Raw(json.dumps(value).encode())


@pytest.mark.slow
def test_a_cache_could_have_as_much_as_of_a_session_of_codex_itself(
    provider: Provider, tmp_path: Path
) -> None:
    own = native(provider, tmp_path)
    with serving.codex(provider.url) as server:
        long_talk(server)
        serverlog.audit(server)
    ours = provider.requests[len(own) :]
    assert len(own) == len(ours) == 2 * TURNS
    assert len(keys(own)) == len(keys(ours)) == 1
    print(f"a cache could have {share(ours):.3f} of it, and {share(own):.3f} of Codex's own")
    assert share(ours) == pytest.approx(share(own), abs=0.001)
    assert share(ours) > 0.85
    assert {request.headers["session-id"] for request in ours} == keys(ours)


@pytest.mark.slow
@pytest.mark.parametrize("ask", ["say", "call"])
def test_the_model_is_shown_the_same_with_and_without(provider: Provider, ask: str) -> None:
    views, answers = [], []
    for most in ("64", "0"):
        before = len(provider.requests)
        with serving.codex(provider.url, PROXY_REUSE_MAX=most) as server:
            answers.append(long_talk(server, ask).messages)
        views.append(provider.requests[before:])
    kept, anew = views
    assert answers[0] == answers[1]
    assert len(keys(kept)) == 1
    assert len(keys(anew)) == TURNS
    own = {"input", "prompt_cache_key", "client_metadata"}
    for one, other in zip(kept, anew, strict=True):
        assert shown(one) == shown(other)
        rest = [{k: v for k, v in each.body.items() if k not in own} for each in (one, other)]
        assert rest[0] == rest[1]
    print(f"{ask}: a cache could have {share(kept):.3f}, and {share(anew):.3f} without")
    assert share(kept) > 0.8 > 0.6 > share(anew)


def shown(request: Request) -> list[Any]:
    """What the model sees of a request: an answer's annotations are none here."""
    items = toolplay.seen(request.body["input"])
    for item in items:
        for part in item.get("content") or ():
            if part.get("annotations") == []:
                del part["annotations"]
    return items


def reasons(server: serving.Serve) -> list[str]:
    return [
        record["reason"] for record in records(server) if record.get("event") == "reuse_missed"
    ]


def reused(server: serving.Serve) -> int:
    return [record.get("event") for record in records(server)].count("thread_reused")


def records(server: serving.Serve) -> list[dict[str, Any]]:
    files = sorted(server.log_dir.glob("events-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def say(talk: Talk, text: str, **options: Any) -> toolplay.Reply:
    talk.messages.append({"role": "user", "content": text})
    return talk.step(**options)


def test_edits_options_and_two_conversations_are_never_mixed(provider: Provider) -> None:
    with serving.codex(provider.url) as server:
        one, other = (Talk(server, name, tools=[ADD]) for name in ("one", "other"))
        for talk in (one, other):
            talk.step()
        for talk in (one, other):
            say(talk, "more")
        assert [len(request.messages) for request in provider.requests] == [1, 1, 3, 3]
        assert len(keys(provider.requests)) == 2
        assert (reused(server), reasons(server)) == (2, [])

        one.messages[2] = {"role": "user", "content": "edited"}
        say(one, "and")
        edited = provider.requests[-1]
        assert edited.messages[2] == ("user", "edited")
        assert edited.body["prompt_cache_key"] not in keys(provider.requests[:-1])

        say(other, "effort", reasoning_effort="high")
        assert provider.requests[-1].body["reasoning"] == {"effort": "high"}
        assert provider.requests[-1].body["prompt_cache_key"] in keys(provider.requests[:4])
        say(other, "default")
        assert "effort" not in provider.requests[-1].body["reasoning"]
        assert reasons(server) == ["history_edited", "effort_unset"]

        schema = {"type": "object", "properties": {}, "additionalProperties": False}
        form = {"type": "json_schema", "json_schema": {"name": "f", "schema": schema}}
        say(other, "schema", response_format=form)
        assert provider.requests[-1].body["text"]["format"]["schema"] == schema
        say(other, "free")
        assert "text" not in provider.requests[-1].body
        assert reused(server) == 5
        said = [text for role, text in provider.requests[-1].messages if role == "user"]
        assert said == ["other", "more", "effort", "default", "schema", "free"]
        serverlog.audit(server)


def test_each_of_several_choices_may_be_gone_on_with(provider: Provider) -> None:
    with serving.codex(provider.url) as server:
        talk = Talk(server, "pick", tools=[ADD])
        talk.step(n=2)
        talk.messages[1:] = talk.messages[1:2]
        say(talk, "more", n=2)
        assert len(provider.requests) == 4
        assert [request.messages for request in provider.requests[2:]] == [
            [("user", "pick"), ("assistant", "pick: done."), ("user", "more")]
        ] * 2
        assert (reused(server), reasons(server)) == (1, ["in_use"])
        assert len(keys(provider.requests)) == 3


def test_reasoning_stays_in_the_thread_and_is_the_clients_to_repeat(provider: Provider) -> None:
    with serving.codex(provider.url) as server:
        asked: dict[str, Any] = {"model": "gpt-5.5", "include": ["reasoning.encrypted_content"]}
        items: list[Any] = [{"role": "user", "content": "think"}]
        for text in ("think more", "last"):
            body = httpclient.ask(server.url, "POST", "/responses", {**asked, "input": items})
            items += [*json.loads(body.body)["output"], {"role": "user", "content": text}]
        httpclient.ask(server.url, "POST", "/responses", {**asked, "input": items})
        assert len(keys(provider.requests)) == 1
        sealed = [
            item["encrypted_content"]
            for item in provider.requests[-1].body["input"]
            if item["type"] == "reasoning"
        ]
        assert sealed == ["c2VhbGVk", "c2VhbGVk"]
        items[1]["encrypted_content"] = "rs_other:c2VhbGVk"
        httpclient.ask(server.url, "POST", "/responses", {**asked, "input": items})
        assert len(keys(provider.requests)) == 2
        serverlog.audit(server)


def test_a_process_that_was_replaced_costs_the_cache_and_nothing_else(provider: Provider) -> None:
    with serving.codex(provider.url, WORKER_COUNT="2") as server:
        talks = [Talk(server, f"talk {number}", tools=[ADD]) for number in range(4)]
        for talk in talks:
            talk.step()
            say(talk, "more")
        assert (reused(server), reasons(server)) == (4, [])
        assert len(keys(provider.requests)) == 4
        spawned = [line["pid"] for line in server.lines if line.get("trigger") == "spawned"]
        for pid in spawned:
            os.kill(pid, signal.SIGKILL)
        machinetime.until(lambda: server.get("/readyz")[0] == 503)
        server.wait_ready()
        for talk in talks:
            reply = say(talk, "after")
            assert reply.message.content == "after: done."
        assert set(reasons(server)) <= {"worker_lost"}
        for request in provider.requests[-4:]:
            assert [text for _, text in request.messages][1:] == [
                *(f"{request.messages[0][1]}: done.", "more"),
                *("more: done.", "after"),
            ]
        serverlog.audit(server)


def test_the_threads_are_bounded_and_the_oldest_makes_room(provider: Provider) -> None:
    with serving.codex(provider.url, PROXY_REUSE_MAX="3") as server:
        talks = [Talk(server, f"talk {number}", tools=[ADD]) for number in range(6)]
        for talk in talks:
            talk.step()
        for talk in reversed(talks):
            say(talk, "more")
        assert reasons(server) == ["evicted"] * 3
        assert reused(server) == 3
        lines = httpclient.ask(server.base, "GET", "/metrics").body.decode().splitlines()
        for event, count in {
            "begun": 6,
            "reused": 3,
            "missed": 3,
            "kept": 12,
            "evicted": 6,
        }.items():
            labels = f'event="{event}",worker="codex"'
            assert f"turntape_worker_reuse_total{{{labels}}} {count}.0" in lines
        labels = 'reason="evicted",worker="codex"'
        assert f"turntape_worker_reuse_missed_total{{{labels}}} 3.0" in lines
        assert 'turntape_worker_threads_idle{worker="codex"} 3.0' in lines
