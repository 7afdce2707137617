"""A search of the web by choice: Codex's own, for a model whose operator allows it, on the real
binary; the provider's sources reach the client, and without the opt-in nothing searches."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.codex import toolplay
from tests.codex.toolplay import Stage
from tests.support.client import httpclient, httpwire
from tests.support.providers.provider import Request
from tests.support.providers.replies import Answer, Event, Stream

pytestmark = pytest.mark.codex

URL = "https://example.org/a"
USER = {"role": "user", "content": "Who?"}
SEARCH = {"type": "web_search"}


def cited(start: int, end: int) -> dict[str, Any]:
    return {"type": "url_citation", "start_index": start, "end_index": end, "url": URL} | {
        "title": "A"
    }


def message(index: int, text: str, citation: dict[str, Any]) -> list[Event]:
    """A message with a source, as the API streams it."""
    place = {"output_index": index, "item_id": f"msg_{index}", "content_index": 0}
    bare: dict[str, Any] = {"id": f"msg_{index}", "type": "message", "role": "assistant"}
    part = {"type": "output_text", "text": text, "annotations": [citation]}
    added, done = "response.output_item.added", "response.output_item.done"
    delta = {"type": "response.output_text.delta", **place, "delta": text}
    return [
        Event({"type": added, "output_index": index, "item": bare | {"content": []}}),
        Event(delta),
        Event({"type": done, "output_index": index, "item": bare | {"content": [part]}}),
    ]


def answer(request: Request) -> Answer:
    action = {"type": "search", "query": "who", "queries": ["who"]}
    call = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": action}
    begun = call | {"status": "in_progress"}
    return Stream(
        (
            Event({"type": "response.output_item.added", "output_index": 0, "item": begun}),
            Event({"type": "response.output_item.done", "output_index": 0, "item": call}),
            *message(1, "One.", cited(0, 3)),
            *message(2, "And two.", cited(4, 7)),
        ),
        usage=toolplay.COUNTS,
    )


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    rules: Path = tmp_path_factory.mktemp("models") / "models.toml"
    rules.write_text('[models.searching]\nmodel = "gpt-5.5"\nweb_search = true\n')
    with toolplay.stage(answer, PROXY_MODELS_FILE=str(rules)) as stage:
        yield stage


def ask(stage: Stage, path: str, body: dict[str, Any]) -> tuple[httpwire.Response, Request]:
    before = len(stage.provider.requests)
    reply = httpclient.ask(stage.server.url, "POST", path, body)
    assert reply.status == 200, reply
    return reply, stage.provider.wait_for(before + 1)


def client(stage: Stage) -> openai.OpenAI:
    return openai.OpenAI(base_url=stage.server.url, api_key="sk-any", max_retries=0)


@pytest.mark.parametrize(("more", "access"), [({}, True), ({"external_web_access": False}, False)])
def test_the_worker_searches_where_its_operator_and_the_request_say_so(
    stage: Stage, more: dict[str, Any], access: bool
) -> None:
    body = {"model": "searching", "input": [USER], "tools": [SEARCH | more]}
    reply, asked = ask(stage, "/responses", body)
    assert asked.body["tools"] == [{"type": "web_search", "external_web_access": access}]
    assert "x-turntape-ignored" not in reply.headers


def test_the_sources_are_annotations_of_a_response(stage: Stage) -> None:
    with client(stage).responses.stream(
        model="searching", input="Who?", tools=[{"type": "web_search"}]
    ) as stream:
        kinds = [event.type for event in stream]
        whole = stream.get_final_response()
    assert kinds.count("response.output_text.annotation.added") == 2
    messages = [item for item in whole.output if item.type == "message"]
    found = [
        (part.text, [note.to_dict() for note in part.annotations])
        for item in messages
        for part in item.content
        if part.type == "output_text"
    ]
    assert found == [("One.", [cited(0, 3)]), ("And two.", [cited(4, 7)])]
    assert whole.usage is not None and whole.usage.output_tokens == 34


@pytest.mark.parametrize("streamed", [False, True])
def test_the_sources_are_annotations_of_a_chat_message(stage: Stage, streamed: bool) -> None:
    asked: dict[str, Any] = {"model": "searching", "messages": [USER], "web_search_options": {}}
    if streamed:
        with client(stage).chat.completions.stream(**asked) as stream:
            stream.until_done()
            message = stream.get_final_completion().choices[0].message
    else:
        message = client(stage).chat.completions.create(**asked).choices[0].message
    assert message.content == "One.\n\nAnd two."
    places = [
        (note.url_citation.start_index, note.url_citation.end_index, note.url_citation.url)
        for note in message.annotations or ()
    ]
    assert places == [(0, 3, URL), (10, 13, URL)]


def test_what_is_said_of_the_search_beside_is_named(stage: Stage) -> None:
    search = SEARCH | {"filters": {"allowed_domains": ["a.example"]}, "user_location": None}
    body = {"model": "searching", "input": [USER], "tools": [search]}
    reply, _ = ask(stage, "/responses", body)
    assert reply.headers["x-turntape-ignored"] == "tools[0].filters"
    options = {"search_context_size": "low"}
    chat = {"model": "searching", "messages": [USER], "web_search_options": options}
    reply, _ = ask(stage, "/chat/completions", chat)
    assert reply.headers["x-turntape-ignored"] == "web_search_options.search_context_size"


@pytest.mark.parametrize("model", ["searching", "gpt-5.5"])
def test_nothing_searches_that_was_not_asked_and_allowed(stage: Stage, model: str) -> None:
    wanted = [SEARCH] if model == "gpt-5.5" else []
    for choice in ("auto", "none"):
        body = {"model": model, "input": [USER], "tools": wanted, "tool_choice": choice}
        reply, asked = ask(stage, "/responses", body)
        assert asked.body["tools"] == []
        named = "tools[0]" if wanted and choice == "auto" else None
        assert reply.headers.get("x-turntape-ignored") == named
    chat = {"model": "gpt-5.5", "messages": [USER], "web_search_options": {}}
    reply, asked = ask(stage, "/chat/completions", chat)
    assert (asked.body["tools"], reply.headers["x-turntape-ignored"]) == (
        [],
        "web_search_options",
    )


def test_a_search_stands_beside_functions_and_their_calls_are_the_client_s(stage: Stage) -> None:
    tools = [SEARCH, {"type": "function", "name": "f", "parameters": {"type": "object"}}]
    body = {"model": "searching", "input": [USER], "tools": tools}
    reply, asked = ask(stage, "/responses", body)
    assert sorted(tool["type"] for tool in asked.body["tools"]) == ["function", "web_search"]
    output = json.loads(reply.body)["output"]
    notes = [part["annotations"] for item in output for part in item.get("content", ())]
    assert notes == [[cited(0, 3)], [cited(4, 7)]]
