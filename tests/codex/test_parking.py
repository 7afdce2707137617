"""Turns that wait for results, on the real Codex binary: both ways on show the model the same."""

import os
import signal
from collections.abc import Iterator

import openai
import pytest

from machines import events
from tests.codex import toolplay
from tests.codex.toolplay import Talk, call
from tests.support.client import httpclient
from tests.support.process import machinetime, serving
from tests.support.providers.provider import Provider, Request
from tests.support.providers.replies import Answer, Message, Reasoning, Stream

pytestmark = pytest.mark.codex

STEPS: dict[str, Answer] = {
    "one": Stream((call(1),), usage=toolplay.COUNTS),
    "other": Stream((call(9),), usage=toolplay.COUNTS),
    "thought": Stream(
        (
            Reasoning((("Hm.",),), encrypted_content="c2VhbGVk"),
            Message(("Wait.",)),
            call(2),
            call(3, '{"city": "Oslo"}'),
        ),
        usage=toolplay.COUNTS,
    ),
}


def answer(request: Request) -> Answer:
    """Steps of calls, a second one after the first results of `long`; then words."""
    results = toolplay.outputs(request.body["input"])
    if request.prompt == "long":
        return Stream((Reasoning((("Step.",),)), call(10 + len(results))))  # without an end
    if results:
        return Stream((Message((toolplay.told(results),)),), usage=toolplay.COUNTS)
    return STEPS[request.prompt]


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(answer) as provider:
        yield provider


def resumed(talk: Talk, reply: toolplay.Reply) -> bool:
    return bool(talk.happened(reply, events.TurnResumed))


def missed(talk: Talk, reply: toolplay.Reply) -> list[str]:
    misses = talk.happened(reply, events.ParkMissed)
    return [event.reason for event in misses if isinstance(event, events.ParkMissed)]


def test_a_turn_goes_on_with_its_results_and_no_history_is_sent_again(provider: Provider) -> None:
    with serving.codex(provider.url) as server:
        talk = Talk(server, "thought")
        first = talk.step()
        assert [c.id for c in first.message.tool_calls or ()] == ["call_2", "call_3"]
        talk.bring("sunny", "rain")
        last = talk.step()
        assert last.message.content == toolplay.told(["sunny", "rain"])
        assert last.whole.usage is not None
        assert last.whole.usage.prompt_tokens == 21
        assert resumed(talk, last)
        assert not talk.happened(last, events.RpcSent)
        assert server.get("/healthz")[1]["turns"] == {"parked": 1, "resumed": 1}


def test_both_ways_on_show_the_model_the_same(provider: Provider) -> None:
    views = []
    for parked in (True, False):
        with serving.codex(provider.url, PROXY_PARK_MAX="1") as server:
            talk = Talk(server, "thought")
            talk.step()
            if not parked:  # another turn takes the one place
                Talk(server, "other").step()
            talk.bring("sunny", "rain")
            last = talk.step()
            assert resumed(talk, last) is parked
            assert missed(talk, last) == ([] if parked else ["not_parked"])
            assert last.message.content == toolplay.told(["sunny", "rain"])
            views.append(provider.requests[-1].body)
    kept, anew = views
    assert toolplay.seen(kept["input"]) == toolplay.seen(anew["input"])
    (thought,) = (item for item in anew["input"] if item["type"] == "reasoning")
    assert thought["encrypted_content"] == "c2VhbGVk"
    ids = [[item["type"] for item in view["input"] if "id" in item] for view in views]
    assert ids[0] == ids[1]
    own = {"input", "prompt_cache_key", "client_metadata"}
    assert {k: v for k, v in kept.items() if k not in own} == {
        k: v for k, v in anew.items() if k not in own
    }


def test_s35_a_turn_waits_through_a_maintenance_and_goes_on(provider: Provider) -> None:
    """Its results are new work for a model, and refused; the turn itself is left alone."""
    key = "adminKey0123456789admin"
    with serving.codex(provider.url, PROXY_ADMIN_KEY=key) as server:
        talk = Talk(server, "thought")
        talk.step()
        talk.bring("sunny", "rain")
        maintain(server, key, True)
        with pytest.raises(openai.InternalServerError) as refused:
            talk.step()
        assert refused.value.code == "maintenance"
        assert server.get("/healthz")[1]["turns"] == {"parked": 1}
        maintain(server, key, False)
        last = talk.step()
        assert resumed(talk, last)
        assert last.message.content == toolplay.told(["sunny", "rain"])


def maintain(server: serving.Serve, key: str, enabled: bool) -> None:
    """Begin a maintenance, or end it."""
    headers = {"authorization": f"Bearer {key}"}
    body = {"enabled": enabled, "retry_after_s": 600} if enabled else {"enabled": False}
    answer = httpclient.ask(server.base, "PUT", "/admin/maintenance", body, headers)
    assert answer.status == 200


def test_a_turn_may_wait_again_and_again(provider: Provider) -> None:
    with serving.codex(provider.url) as server:
        talk = Talk(server, "long")
        for step in range(4):
            reply = talk.step()
            assert [c.id for c in reply.message.tool_calls or ()] == [f"call_{10 + step}"]
            assert resumed(talk, reply) is (step > 0)
            talk.bring(f"result {step}")
        view = provider.requests[-1].body["input"]
        assert toolplay.outputs(view) == ["result 0", "result 1", "result 2"]


def test_what_the_turn_has_not_seen_is_sent_anew(provider: Provider) -> None:
    with serving.codex(provider.url) as server:
        edited = Talk(server, "one")
        edited.step()
        edited.bring("sunny")
        edited.messages.insert(0, {"role": "system", "content": "Be brief."})
        last = edited.step()
        assert missed(edited, last) == ["history_edited"]
        assert last.message.content == toolplay.told(["sunny"])
        assert provider.requests[-1].messages[0] == ("developer", "Be brief.")

        partly = Talk(server, "thought")
        partly.step()
        partly.bring("sunny", "rain")
        partly.messages.pop()
        last = partly.step()
        assert missed(partly, last) == ["partly_answered"]

        other = Talk(server, "one")
        other.step()
        other.bring("sunny")
        last = other.step(reasoning_effort="high")
        assert missed(other, last) == ["options_changed"]
        assert last.message.content == toolplay.told(["sunny"])


def test_white_space_and_order_of_arguments_are_no_edit(provider: Provider) -> None:
    with serving.codex(provider.url) as server:
        talk = Talk(server, "thought")
        talk.step()
        said = talk.messages[-1]
        said["content"] = said["content"] + "\n "
        said["tool_calls"][0]["function"]["arguments"] = '{ "city":"Paris" }'
        talk.bring("sunny", "rain")
        assert resumed(talk, talk.step())


def test_a_turn_waits_no_longer_than_it_may(provider: Provider) -> None:
    with serving.codex(provider.url, PROXY_PARK_TTL_MS="100") as server:
        talk = Talk(server, "one")
        talk.step()
        machinetime.until(
            lambda: any(line.get("event") == "parked_turn_expired" for line in server.lines)
        )
        talk.bring("sunny")
        last = talk.step()
        assert missed(talk, last) == ["not_parked"]
        assert last.message.content == toolplay.told(["sunny"])
    assert len(provider.requests) == 2


def test_results_find_their_way_when_the_process_has_died(provider: Provider) -> None:
    with serving.codex(provider.url) as server:
        talk = Talk(server, "one")
        talk.step()
        (pid,) = {
            record["detail"]["pid"]
            for record in server.records()
            if record["event"] == "worker_changed" and "pid" in record["detail"]
        }
        os.kill(pid, signal.SIGKILL)
        machinetime.until(lambda: server.get("/readyz")[0] == 503)
        server.wait_ready()
        talk.bring("sunny")
        last = talk.step()
        assert missed(talk, last) == ["worker_lost"]
        assert last.message.content == toolplay.told(["sunny"])


def test_another_server_goes_on_from_the_history(provider: Provider) -> None:
    with serving.codex(provider.url) as one, serving.codex(provider.url) as other:
        talk = Talk(one, "thought")
        talk.step()
        talk.bring("sunny", "rain")
        elsewhere = Talk(other, "thought")
        elsewhere.messages = talk.messages
        last = elsewhere.step()
        assert missed(elsewhere, last) == ["not_parked"]
        assert last.message.content == toolplay.told(["sunny", "rain"])


def test_a_waiting_turn_holds_no_permit_and_no_stop(provider: Provider) -> None:
    settings = {"PROXY_SSE_MAX_CONCURRENCY": "1", "WORKER_MAX_CONCURRENCY": "1"}
    with serving.codex(provider.url, **settings) as server:
        Talk(server, "one").step()
        talk = Talk(server, "other")
        assert talk.step().message.tool_calls
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=machinetime.HANG_S) == 0
    assert len(provider.requests) == 2


def test_a_turn_whose_call_was_withheld_does_not_wait(provider: Provider) -> None:
    with serving.codex(provider.url) as server:
        talk = Talk(server, "thought", parallel_tool_calls=False)
        first = talk.step()
        assert [c.id for c in first.message.tool_calls or ()] == ["call_2"]
        talk.bring("sunny")
        last = talk.step()
        assert missed(talk, last) == ["not_parked"]
        assert last.message.content == toolplay.told(["sunny"])
