"""The client of the trials: what it sends, and the streams that it does not take for any."""

import json
import socket

import pytest

from server.cli.trials import client as trialclient
from server.cli.trials.client import Client, Event
from tests.server.cli.trials.asking import asking, error
from tests.support.process import serving
from tests.support.providers import upstreams


def events(body: bytes) -> list[Event]:
    """The events of a stream of these bytes."""
    with asking([upstreams.raw_stream(body)]) as (client, _):
        return list(client.stream("/chat/completions", {}))


def test_a_request_has_the_key_and_an_id_of_its_own() -> None:
    with asking([error(400), error(400)], "sk-1") as (client, server):
        client.post("/chat/completions", {"model": "m"})
        client.post("/chat/completions", {}, key="sk-2")
        first, second = server.requests
        ids = client.request_ids
    assert (first.path, json.loads(first.raw)) == ("POST /v1/chat/completions", {"model": "m"})
    assert first.headers["authorization"] == "Bearer sk-1"
    assert second.headers["authorization"] == "Bearer sk-2"
    assert ids == [first.headers["x-request-id"], second.headers["x-request-id"]]
    assert all(each.startswith("smoke-") for each in ids)


def test_the_id_is_that_of_the_answer() -> None:
    script = [upstreams.response(200, {}, "x-request-id: theirs")]
    with asking(script) as (client, _):
        client.post("/x", {})
        assert client.request_ids == ["theirs"]


def test_without_a_path_the_api_is_below_v1() -> None:
    with asking() as (_, server):
        bare = Client(server.url.removesuffix("/v1"), None, 10.0)
        assert bare.get("/models").status == 200
        assert [each.path for each in server.server.listings] == ["GET /v1/models"]


def test_events_have_names_and_data_and_comments_are_none() -> None:
    body = b": beat\n\ndata: one\n\nevent: two\r\ndata:2\r\ndata: 3\r\nid: 7\r\n\r\n"
    assert events(body) == [Event("", "one"), Event("two", "2\n3")]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"data: one\n", "the stream ends within an event"),
        (b"event: one\n", "the stream ends within an event"),
        (b"data: one\n\ndata: tw", "the stream ends within a line: data: tw"),
        (b'{"choices":[]}\n\n', 'a line of the stream is no field of an event: {"choices":[]}'),
        (b"data: \xff\n\n", "a line of the stream is not UTF-8"),
    ],
)
def test_what_breaks_the_format_is_said(body: bytes, why: str) -> None:
    with pytest.raises(trialclient.Failed) as raised:
        events(body)
    assert str(raised.value) == why


def test_a_stream_that_is_none_is_a_failure() -> None:
    with asking([upstreams.response(200, {}), error(503)]) as (client, _):
        with pytest.raises(trialclient.Failed, match="application/json, and no event stream"):
            list(client.stream("/x", {}))
        with pytest.raises(trialclient.Refused, match="status 503, some_code") as refused:
            list(client.stream("/x", {}))
    assert refused.value.status == 503


def test_a_stream_that_breaks_off_is_a_failure() -> None:
    with (
        asking([[upstreams.STREAM_HEAD, upstreams.framed(b"data: 1\n\n"), "reset"]]) as (
            client,
            _,
        ),
        pytest.raises(trialclient.Failed, match="the stream broke: "),
    ):
        list(client.stream("/x", {}))


def test_a_stream_that_goes_on_and_on_has_an_end() -> None:
    beats: list[bytes | float] = [upstreams.framed(b": beat\n\n"), 0.05]
    endless: upstreams.Answer = [upstreams.STREAM_HEAD, *beats * 100, "close"]
    with asking([endless]) as (_, server):
        client = Client(server.url, None, 0.3)
        with pytest.raises(trialclient.Failed, match="did not end in time"):
            list(client.stream("/x", {}))


def test_a_server_that_is_not_there_or_says_nothing_is_a_failure() -> None:
    absent = Client(f"http://127.0.0.1:{serving.free_port()}/v1", None, 10.0)
    with pytest.raises(trialclient.Failed, match="no answer: Connection refused"):
        absent.get("/models")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        waiting = Client(f"http://127.0.0.1:{mute.getsockname()[1]}/v1", None, 0.1)
        with pytest.raises(trialclient.Failed, match="no answer: timed out"):
            waiting.get("/models")


def test_a_health_that_is_not_offered_is_none() -> None:
    script = [upstreams.response(200, {"streams": 2}), error(404), upstreams.response(200, b"ok")]
    with asking(script) as (client, server):
        assert client.health() == {"streams": 2}
        assert client.health() is None
        assert client.health() is None
        assert [each.path for each in server.requests] == ["GET /healthz"] * 3
        assert client.request_ids == []


@pytest.mark.parametrize("text", ["", "[]", "1", "{", "[" * 100_000])
def test_what_is_no_object_is_a_failure(text: str) -> None:
    with pytest.raises(trialclient.Failed, match="no JSON object"):
        trialclient.parse(text)


def test_a_host_that_is_no_name_is_a_failure() -> None:
    with pytest.raises(trialclient.Failed, match="no answer: "):
        Client("http://a..b/v1", None, 10.0).get("/models")


def test_a_long_text_is_cut() -> None:
    assert trialclient.shown("x" * 1000, 10) == "x" * 10 + "…"
    assert trialclient.shown(b"\xff" * 1000, 2) == "\ufffd\ufffd…"
