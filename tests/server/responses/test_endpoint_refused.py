"""What `/v1/responses` refuses, on a real server, and what it bears."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.client.responsesclient import Client
from tests.support.process import serving

MODEL = "codex-5"
"""The model that is asked for."""


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server:
        yield Client(server)
        assert [line for line in server.lines if line.get("event") == "defect"] == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("limit=-1", "limit"),
        ("after=msg_x", "after"),
        ("order=up", "order"),
    ],
)
def test_a_page_that_there_is_not_is_refused(client: Client, query: str, param: str) -> None:
    response_id = client.made("hi", model=MODEL)["id"]
    refused = client.input_items(response_id, f"?{query}")
    assert refused.problem == (400, None, param)


@pytest.mark.parametrize("item_id", [5, ["x"], {}, True])
def test_an_item_by_whose_id_nobody_could_find_it_is_refused(client: Client, item_id: Any) -> None:
    for fields in ({}, {"background": True}, {"store": False}):
        item = {"type": "web_search_call", "id": item_id}
        refused = client.create([{"role": "user", "content": "hi"}, item], **fields, model=MODEL)
        assert refused.problem == (400, None, "input[1].id")


def test_a_reference_to_nothing_is_a_404_of_its_own(client: Client) -> None:
    lost = client.create([{"type": "item_reference", "id": "msg_none"}], model=MODEL)
    assert lost.problem == (404, None, "input[0]")
    assert lost.error["message"] == "Item with id 'msg_none' not found."


@pytest.mark.parametrize("response_id", ["resp_none", "x", "a%2Fb", "%00", "%ff", "r" * 4000])
def test_an_id_of_nothing_is_not_found(client: Client, response_id: str) -> None:
    missing = (404, "response_not_found", None)
    assert client.get(response_id).problem == missing
    assert client.delete(response_id).problem == missing
    assert client.cancel(response_id).problem == missing
    assert client.input_items(response_id).problem == missing


@pytest.mark.parametrize("response_id", ["resp_none", "", "x" * 10_000, "\x00"])
def test_nothing_goes_on_from_what_is_not_there(client: Client, response_id: str) -> None:
    lost = client.create("hi", previous_response_id=response_id, model=MODEL)
    assert lost.problem == (400, "previous_response_not_found", "previous_response_id")


def test_another_media_type_is_refused(client: Client) -> None:
    body = json.dumps({"model": "m", "input": "hi"}).encode()
    refused = client.ask("POST", "/responses", body, {"content-type": "text/plain"})
    assert refused.problem == (415, "unsupported_media_type", None)


def test_head_is_answered_and_other_methods_are_named(client: Client) -> None:
    assert client.ask("HEAD", "/responses")[::2] == (200, b"")
    assert client.ask("GET", "/responses").headers["allow"] == "POST, HEAD, OPTIONS"
    assert client.ask("POST", "/responses/x").headers["allow"] == "GET, DELETE, OPTIONS"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{", (400, "invalid_json", None)),
        (b'{"input":"hi"}', (400, "model_required", "model")),
        (b'{"model":"codex-5"}', (400, None, "input")),
        (b'{"model":"codex-5","input":3}', (400, None, "input")),
        (
            b'{"model":"codex-5","input":"hi","conversation":"c"}',
            (400, "unsupported_parameter", "conversation"),
        ),
        (b'{"model":"codex-5","input":"hi","text":{"format":{"type":"json_schema"}}}', None),
    ],
)
def test_a_wrong_request_is_refused(client: Client, body: bytes, problem: Any) -> None:
    refused = client.ask("POST", "/responses", body)
    assert refused.status == 400
    assert problem is None or refused.problem == problem


@pytest.mark.parametrize("more", [b'"seed":1e999', b'"x":"\xff"', b'"x":"\\u0000"', b'"x":[[]]'])
def test_what_nobody_reads_does_no_harm(client: Client, more: bytes) -> None:
    body = b'{"model":"codex-5","input":"hi","metadata":{"a":"b"},%b}' % more
    reply = client.ask("POST", "/responses", body)
    assert (reply.status, reply.body["status"]) == (200, "completed")
    streamed = client.ask("POST", "/responses", body[:-1] + b',"stream":true}')
    assert streamed.told[-1]["type"] == "response.completed"


def test_a_request_of_any_depth_is_answered_or_refused() -> None:
    # A log does not keep what is nested so deeply: this one shall not be asked for it.
    with serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server:
        for depth in (10, 400, 900, 20_000):
            nested = b"[" * depth + b"]" * depth
            tool = b'{"type":"function","name":"f","parameters":{"x":%b}}' % nested
            body = b'{"model":"codex-5","input":"hi","stream":true,"tools":[%b]}' % tool
            reply = Client(server).ask("POST", "/responses", body)
            assert reply.status in (200, 400), (depth, reply)
            if reply.status == 200:
                assert b"\nevent: response.completed\n" in reply.raw, depth
