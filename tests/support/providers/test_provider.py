"""The model provider of the tests does what its script says, and sees what happens to it."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.client import httpclient
from tests.support.process import machinetime
from tests.support.providers.provider import Provider, in_turn
from tests.support.providers.replies import (
    Closed,
    Cut,
    Failed,
    FunctionCall,
    Held,
    HttpError,
    Incomplete,
    Item,
    Message,
    Reasoning,
    Refusal,
    Stream,
    Usage,
)
from tests.support.providers.scripted import Gate


def post(provider: Provider, text: str, key: str | None = None) -> httpclient.Exchange:
    """Ask the provider; the response's head has come, its body is still to be read."""
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    headers = {"authorization": f"Bearer {key}"} if key else {}
    body = {"model": "m", "input": [item]}
    exchange = httpclient.begin(provider.url, "POST", "/responses", body, headers)
    assert exchange.head.status
    return exchange


def events(exchange: httpclient.Exchange) -> Iterator[Any]:
    """The events of a streamed answer as they come."""
    for line in exchange.lines():
        if line.startswith(b"data: "):
            yield json.loads(line.removeprefix(b"data: "))


def ask(provider: Provider, text: str) -> list[Any]:
    """All events of an answer."""
    with post(provider, text) as response:
        return list(events(response))


def test_text_is_streamed_as_the_api_has_it() -> None:
    with Provider({"hi": Stream((Message(("Hel", "lo")),), usage=Usage(7, 2, 1, 0))}) as provider:
        answer = ask(provider, "hi")
    assert [event["type"] for event in answer] == [
        "response.created",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in answer] == list(range(7))
    assert [event["delta"] for event in answer[3:5]] == ["Hel", "lo"]
    assert answer[5]["item"]["content"][0]["text"] == "Hello"
    assert answer[6]["response"]["output"] == [answer[5]["item"]]
    assert answer[6]["response"]["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 1},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 9,
    }


@pytest.mark.parametrize(
    ("item", "done"),
    [
        (
            Message(("a", "b"), phase="commentary", streamed=False),
            {"type": "message", "phase": "commentary", "deltas": []},
        ),
        (
            Refusal(("n", "o")),
            {"type": "message", "deltas": ["n", "o"]},
        ),
        (
            Reasoning((("a", "b"), ("c",)), ("d",)),
            {
                "type": "reasoning",
                "summary": [
                    {"type": "summary_text", "text": "ab"},
                    {"type": "summary_text", "text": "c"},
                ],
                "content": [{"type": "reasoning_text", "text": "d"}],
                "deltas": ["a", "b", "c", "d"],
            },
        ),
        (
            FunctionCall("call_1", "f", ("{", "}")),
            {"type": "function_call", "arguments": "{}", "deltas": ["{", "}"]},
        ),
    ],
)
def test_items_of_every_kind(item: Item, done: dict[str, Any]) -> None:
    with Provider(default=Stream((item,))) as provider:
        answer = ask(provider, "hi")
    whole = next(one["item"] for one in answer if one["type"] == "response.output_item.done")
    deltas = [one["delta"] for one in answer if one["type"].endswith(".delta")]
    item_seen = {**whole, "deltas": deltas}
    assert item_seen | done == item_seen


@pytest.mark.parametrize(
    ("end", "last", "says"),
    [
        (
            Incomplete("max_output_tokens"),
            "response.incomplete",
            {"incomplete_details": {"reason": "max_output_tokens"}},
        ),
        (
            Failed("server_error", "no"),
            "response.failed",
            {"error": {"code": "server_error", "message": "no"}},
        ),
        (Closed(), "response.output_item.done", {}),
    ],
)
def test_ends_of_every_kind(
    end: Incomplete | Failed | Closed, last: str, says: dict[str, Any]
) -> None:
    with Provider(default=Stream((Message(("x",)),), end=end)) as provider:
        answer = ask(provider, "hi")[-1]
    assert answer["type"] == last
    assert answer.get("response", {}) | says == answer.get("response", {})


def test_an_error_has_its_status_headers_and_body() -> None:
    refusal = HttpError(429, {"error": {"message": "slow"}}, (("retry-after", "2"),))
    with Provider({"hi": refusal}) as provider, post(provider, "hi") as response:
        assert (response.head.status, response.head.headers["retry-after"]) == (429, "2")
        assert json.loads(response.response().body) == {"error": {"message": "slow"}}


def test_a_request_is_on_record() -> None:
    with Provider() as provider:
        with post(provider, "hi", key="sk-1") as response:
            assert response.head.status == 200
        request = provider.wait_for(1)
    assert (request.key, request.prompt, request.messages) == ("sk-1", "hi", [("user", "hi")])


def test_other_paths_are_strays() -> None:
    with Provider() as provider:
        assert httpclient.ask(provider.url, "GET", "/models").status == 404
        assert (provider.strays, provider.requests) == (["GET /v1/models"], [])


def test_a_cut_resets_the_connection() -> None:
    with Provider({"hi": Stream((Message(("a", Cut(), "b")),))}) as provider:
        with post(provider, "hi") as response:
            seen = events(response)
            types = [next(seen)["type"] for _ in range(4)]
            assert types[-1] == "response.output_text.delta"
            with pytest.raises(ConnectionResetError):
                next(seen)
        assert not provider.requests[0].left.is_set()


def test_a_cut_may_come_before_the_head() -> None:
    with Provider(default=Cut()) as provider, pytest.raises(ConnectionResetError):
        post(provider, "hi")


def test_a_gate_holds_what_follows_it() -> None:
    gate = Gate()
    with Provider({"hi": Stream((Message(("a", gate, "b")),))}) as provider:
        with post(provider, "hi") as response:
            seen = events(response)
            assert [next(seen)["type"] for _ in range(4)][-1] == "response.output_text.delta"
            assert not provider.requests[0].answered.is_set()
            gate.open()
            assert next(seen)["delta"] == "b"
        assert ask(provider, "hi")[-1]["type"] == "response.completed"  # open is open


def test_a_held_answer_has_no_head_until_its_gate_opens() -> None:
    gate = Gate()
    with Provider(default=Held(gate, HttpError(500))) as provider:
        connection = httpclient.connect(provider.url)
        data = httpclient.encoded(provider.url, "POST", "/responses", {"model": "m", "input": []})
        with httpclient.Exchange(connection, data) as exchange:
            provider.wait_for(1)
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)
            gate.open()
            connection.settimeout(httpclient.WAIT_S)
            assert exchange.head.status == 500


def test_a_peer_that_leaves_is_noticed() -> None:
    with Provider({"hi": Stream((Message(("a", Gate())),))}) as provider:
        with post(provider, "hi") as response:
            next(events(response))
            request = provider.wait_for(1)
            assert not request.left.is_set()
            gone_at = time.monotonic()
        assert request.left.wait(machinetime.HANG_S)
        assert request.left_at is not None
        assert request.left_at >= gone_at
        assert not request.answered.is_set()


def test_answers_may_come_in_turn() -> None:
    with Provider(in_turn(HttpError(500), Stream())) as provider:
        statuses = []
        for _ in range(3):
            with post(provider, "hi") as response:
                statuses.append(response.head.status)
    assert statuses == [500, 200, 200]


def test_waiting_for_a_request_has_an_end() -> None:
    with Provider() as provider, pytest.raises(TimeoutError, match="0 of 1"):
        provider.wait_for(1, timeout=0.01)


def test_it_closes_what_is_still_open() -> None:
    with Provider({"hi": Stream((Gate(),))}) as provider:
        response = post(provider, "hi")
        port = provider.port
    with response:
        assert list(events(response))[1:] == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
