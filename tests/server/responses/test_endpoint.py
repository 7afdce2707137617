"""`/v1/responses` on a real server: what is kept, what goes on from it, what is refused."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from openai.types.responses import Response

from tests.support.client import responseswire
from tests.support.client.responsesclient import Client, Json
from tests.support.logs import serverlog
from tests.support.process import machinetime, serving
from tests.support.providers import upstreams, upstreamshapes
from tests.support.providers.upstreams import (
    DONE,
    LAST,
    STREAM_HEAD,
    chunk,
    counted,
    framed,
    sse,
    usage,
)

HEL = STREAM_HEAD + framed(sse(chunk("Hel")))
"""What an upstream says first."""


class Place(NamedTuple):
    """A server, the upstream behind it, and who asks."""

    client: Client
    source: upstreams.Hosted

    def messages(self, prompt: str) -> list[Json]:
        """What the upstream was told the last time it was asked this."""
        request = self.source.requests_for(prompt)[-1]
        found: list[Json] = request.body["messages"]
        return found


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """At the end its log replays to the bytes that were sent, and it has not complained."""
    with (
        upstreams.Hosted() as source,
        serving.running(
            "--worker",
            "upstream",
            PROXY_UPSTREAM_URL=source.url,
            PROXY_EVENT_LOG="full",
            PROXY_LOG_FSYNC="none",
            PROXY_SSE_MAX_CONCURRENCY="1",
            PROXY_MAX_BODY_BYTES="8MiB",
        ) as server,
    ):
        yield Place(Client(server), source)
        serverlog.audit(server)


def text_of(response: Json) -> str:
    """What the messages of a response say."""
    parts = [
        part["text"]
        for item in response["output"]
        if item["type"] == "message"
        for part in item["content"]
    ]
    return "".join(parts)


def test_a_response_is_kept_as_it_was_answered(place: Place) -> None:
    reply = place.client.create("hi", metadata={"a": "b"})
    assert reply.status == 200
    response = Response.model_validate_json(reply.raw, strict=True)
    assert (response.status, response.output_text, response.metadata) == (
        "completed",
        "Hello world",
        {"a": "b"},
    )
    kept = place.client.get(response.id)
    assert (kept.status, kept.raw) == (200, reply.raw)
    assert kept.headers["x-request-id"]


def test_a_streamed_response_is_kept_as_its_last_event_told(place: Place) -> None:
    told = place.client.create("hi", stream=True).told
    assert told[-1]["type"] == "response.completed"
    kept = place.client.get(told[0]["response"]["id"])
    assert kept.body == told[-1]["response"]
    assert text_of(kept.body) == "Hello world"


def test_what_was_cut_is_kept_as_incomplete(place: Place) -> None:
    prompt = place.source.prompt(upstreams.stream(chunk("Hel"), chunk(finish="length")))
    response = place.client.made(prompt)
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert place.client.get(response["id"]).body == response


@pytest.mark.parametrize("stream", [True, False])
def test_what_was_cut_before_any_text_has_no_message(place: Place, stream: bool) -> None:
    thought = upstreamshapes.delta(reasoning_content="hm")
    prompt = place.source.prompt(upstreams.stream(thought, chunk(finish="length")))
    reply = place.client.create(prompt, stream=stream)
    response = reply.told[-1]["response"] if stream else reply.body
    assert [item["type"] for item in response["output"]] == ["reasoning"]
    assert response["status"] == "incomplete"


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_of_an_upstream_is_a_message_though_it_is_empty(
    place: Place, stream: bool
) -> None:
    reply = place.client.create(
        place.source.prompt(upstreams.stream(chunk(""), chunk(finish="stop"))), stream=stream
    )
    response = reply.told[-1]["response"] if stream else reply.body
    assert [item["type"] for item in response["output"]] == ["message"]


def test_a_failure_after_the_head_is_kept_as_failed(place: Place) -> None:
    prompt = place.source.prompt([HEL, "reset"])
    told = place.client.create(prompt, stream=True).told
    assert [event["type"] for event in told[-2:]] == ["error", "response.failed"]
    kept = place.client.get(told[0]["response"]["id"]).body
    assert kept == told[-1]["response"]
    assert (kept["status"], kept["error"]["code"]) == ("failed", "server_error")


@pytest.mark.parametrize("stream", [True, False])
def test_a_failure_before_the_head_is_an_http_error_and_nothing_is_kept(
    place: Place, stream: bool
) -> None:
    refused = upstreams.response(403, {"error": {"message": "No.", "code": "no", "type": "t"}})
    reply = place.client.create(place.source.prompt(refused), stream=stream)
    assert (reply.status, reply.error["message"]) == (403, "No.")
    assert "resp_" not in reply.raw.decode()


def test_a_failure_of_an_answer_not_streamed_is_an_http_error(place: Place) -> None:
    reply = place.client.create(place.source.prompt([HEL, "reset"]))
    assert reply.problem == (502, "upstream_disconnected", None)


def test_a_response_whose_client_left_is_not_kept_and_its_permit_is_free(place: Place) -> None:
    prompt = place.source.prompt([HEL, "stall"])
    with place.client.creating(prompt) as leaving:
        response_id = leaving.response_id
        busy = place.client.create("hi", stream=True)
        assert busy.problem == (429, "concurrency_exceeded", None)
    machinetime.until(place.source.request_for(prompt).left.is_set, 1)
    machinetime.until(lambda: place.client.create("hi", stream=True).status == 200, 1)
    assert place.client.get(response_id).problem == (404, "response_not_found", None)


def test_what_is_deleted_is_gone(place: Place) -> None:
    response_id = place.client.made("hi")["id"]
    deleted = place.client.delete(response_id)
    assert deleted.body == {"id": response_id, "object": "response", "deleted": True}
    for gone in (
        place.client.get(response_id),
        place.client.delete(response_id),
        place.client.cancel(response_id),
        place.client.input_items(response_id),
        place.client.get(response_id, "?stream=true"),
    ):
        assert gone.problem == (404, "response_not_found", None)
        assert response_id in gone.error["message"]


def test_only_what_is_made_in_the_background_can_be_cancelled_or_streamed_later(
    place: Place,
) -> None:
    response_id = place.client.made("hi")["id"]
    assert place.client.cancel(response_id).problem == (400, None, None)
    assert place.client.get(response_id, "?stream=true").problem == (400, None, "stream")


SAID = [
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "three"},
]


def test_the_input_is_listed_newest_first(place: Place) -> None:
    response_id = place.client.made(SAID)["id"]
    listed = place.client.input_items(response_id).body
    texts = [item["content"][0]["text"] for item in listed["data"]]
    assert texts == ["three", "two", "one"]
    ids = [item["id"] for item in listed["data"]]
    assert listed == {
        "object": "list",
        "data": listed["data"],
        "first_id": ids[0],
        "last_id": ids[-1],
        "has_more": False,
    }
    oldest = place.client.input_items(response_id, "?order=asc").body["data"]
    assert oldest == listed["data"][::-1]


def test_the_input_is_listed_page_by_page(place: Place) -> None:
    response_id = place.client.made(SAID)["id"]
    first = place.client.input_items(response_id, "?limit=2&order=asc").body
    assert [item["content"][0]["text"] for item in first["data"]] == ["one", "two"]
    assert first["has_more"]
    query = f"?limit=2&order=asc&after={first['last_id']}"
    rest = place.client.input_items(response_id, query).body
    assert [item["content"][0]["text"] for item in rest["data"]] == ["three"]
    assert (rest["has_more"], rest["first_id"]) == (False, rest["last_id"])
    end = place.client.input_items(response_id, f"?order=asc&after={rest['last_id']}").body
    assert (end["data"], end["first_id"], end["last_id"]) == ([], None, None)


def test_a_chain_of_responses_is_one_conversation(place: Place) -> None:
    first = place.client.made("one", instructions="Be brief.")
    second = place.client.made("two", previous_response_id=first["id"])
    third = place.client.made("three", previous_response_id=second["id"], instructions="Be kind.")
    assert place.messages("three") == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "Hello world"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "Hello world"},
        {"role": "user", "content": "three"},
    ]
    assert third["previous_response_id"] == second["id"]
    own = place.client.input_items(third["id"]).body["data"]
    assert [item["content"][0]["text"] for item in own] == ["three"]


def test_one_response_may_have_several_that_go_on_from_it(place: Place) -> None:
    first = place.client.made("root")
    for branch in ("left", "right"):
        place.client.made(branch, previous_response_id=first["id"])
        told = [message["content"] for message in place.messages(branch)]
        assert told == ["root", "Hello world", branch]


def test_a_chain_ends_where_a_part_of_it_was_deleted(place: Place) -> None:
    first = place.client.made("one")
    second = place.client.made("two", previous_response_id=first["id"])
    place.client.delete(first["id"])
    lost = place.client.create("three", previous_response_id=second["id"])
    assert lost.problem == (400, "previous_response_not_found", "previous_response_id")
    assert first["id"] in lost.error["message"]


def test_calls_and_their_results_go_on(place: Place) -> None:
    function = {"name": "f", "arguments": '{"x":1}'}
    call = {"index": 0, "id": "call_a", "type": "function", "function": function}
    choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}
    prompt = place.source.prompt(
        upstreams.stream(chunk(choices=[choice]), chunk(finish="tool_calls"), counted(7, 2))
    )
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object"}}]
    first = place.client.made(prompt, tools=tools)
    assert [item["type"] for item in first["output"]] == ["function_call"]
    result = {"type": "function_call_output", "call_id": "call_a", "output": "sunny"}
    second = place.client.made([result], previous_response_id=first["id"], tools=tools)
    assert text_of(second) == "Hello world"
    assert place.messages("sunny")[1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_a", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call_a", "content": "sunny"},
    ]
    reference = {"type": "item_reference", "id": first["output"][0]["id"]}
    place.client.made([{"role": "user", "content": "again"}, reference, result], tools=tools)
    assert place.messages("sunny")[1:][0]["tool_calls"][0]["id"] == "call_a"


def test_items_are_found_by_what_refers_to_them(place: Place) -> None:
    first = place.client.made("one")
    (asked,) = place.client.input_items(first["id"]).body["data"]
    said = {"type": "item_reference", "id": first["output"][0]["id"]}
    second = place.client.made(
        [{"id": asked["id"]}, said, {"role": "user", "content": "two"}], store=False
    )
    assert text_of(second) == "Hello world"
    assert [message["content"] for message in place.messages("two")] == [
        "one",
        "Hello world",
        "two",
    ]


def test_what_is_not_to_be_stored_is_not(place: Place) -> None:
    response = place.client.made("hi", store=False)
    assert response["store"] is False
    lost = (
        place.client.get(response["id"]),
        place.client.create("on", previous_response_id=response["id"]),
        place.client.create([{"type": "item_reference", "id": response["output"][0]["id"]}]),
    )
    assert [each.status for each in lost] == [404, 400, 404]
    streamed = place.client.create("hi", store=False, stream=True).told[-1]["response"]
    assert streamed["store"] is False
    assert place.client.get(streamed["id"]).status == 404


def test_what_is_not_stored_may_go_on_from_what_is(place: Place) -> None:
    first = place.client.made("one")
    place.client.made("two", previous_response_id=first["id"], store=False)
    assert len(place.messages("two")) == 3


def test_a_large_input_is_kept_and_goes_on(place: Place) -> None:
    large = "x" * (5 << 20)
    first = place.client.made(large)
    (item,) = place.client.input_items(first["id"]).body["data"]
    assert item["content"][0]["text"] == large
    place.client.made("and", previous_response_id=first["id"])
    assert place.messages("and")[0]["content"] == large
    second = place.client.made(large, previous_response_id=first["id"])
    over = place.client.create("more", previous_response_id=second["id"])
    assert over.problem == (400, "context_length_exceeded", "previous_response_id")
    huge = place.client.create("x" * (9 << 20))
    assert huge.problem == (413, "request_too_large", None)


def test_counts_are_told_with_their_details(place: Place) -> None:
    details = {
        **usage(10, 5),
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    prompt = place.source.prompt(
        upstreams.stream(chunk("Hi"), chunk(finish="stop"), chunk(choices=[], usage=details))
    )
    assert place.client.made(prompt)["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 15,
    }


def test_names_of_what_is_ignored_are_told(place: Place) -> None:
    reply = place.client.create(
        "hi", truncation="auto", client_metadata={}, tools=[{"type": "web_search"}]
    )
    assert reply.headers["x-turntape-ignored"] == "tools[0], client_metadata, truncation"


def test_heartbeats_are_events_and_the_answer_follows(place: Place) -> None:
    with serving.running(
        "--worker",
        "upstream",
        PROXY_UPSTREAM_URL=place.source.url,
        PROXY_HEAD_HOLD_MS="50",
        PROXY_SSE_KEEPALIVE_MS="50",
    ) as server:
        prompt = place.source.prompt(
            [STREAM_HEAD, 0.4, framed(sse(chunk("Hi"), chunk(finish="stop")) + DONE), LAST]
        )
        told = Client(server).create(prompt, stream=True).told
    types = [event["type"] for event in told]
    assert types.count("response.in_progress") >= 3
    assert types[types.index("response.output_item.added") :].count("response.in_progress") == 0
    responseswire.fold(told)
