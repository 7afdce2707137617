"""Transcripts of the Responses API: the contract of its events, the same answer however asked."""

import json
import re
from collections.abc import Iterator

import msgspec
import pytest
from openai.types.responses import Response

from machines import events
from tests.support.client import httpclient, httpwire, responseswire
from tests.support.logs import corpus
from tests.support.logs.corpus import on_file
from tests.support.process import serving
from tests.tools import normalise

each = pytest.mark.parametrize("name", corpus.RESPONSES)

EPOCH_S = normalise.EPOCH_US // 10**6

TIMES = re.compile(rb'"(created_at|completed_at)":\d+')


@pytest.fixture(scope="module")
def player() -> Iterator[serving.Serve]:
    """A server whose worker plays the corpus, as fast as it goes."""
    with serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server:
        yield server


def play(player: serving.Serve, name: str, **options: object) -> httpwire.Response:
    """Ask a server for a transcript with the transcript's own request."""
    headers = {"x-turntape-transcript": name}
    request = {**on_file(name).request, **options}
    return httpclient.ask(player.url, "POST", "/responses", request, headers)


def evened(body: bytes) -> bytes:
    """A body with the ids of a transcript, and every time the transcript's first."""
    key = re.search(rb'"resp_(\w{16,})"', body)
    return TIMES.sub(rb'"\1":%d' % EPOCH_S, body.replace(key[1], b"1") if key else body)


def test_the_names_say_which_api_it_is() -> None:
    for name in corpus.NAMES:
        assert (on_file(name).opened.endpoint == events.RESPONSES) == (name in corpus.RESPONSES)


@each
def test_its_events_keep_the_contract(name: str) -> None:
    told = responseswire.whole(on_file(name).sse)
    responseswire.check_types(told)
    folded = responseswire.fold(told)
    assert list(folded.done.values()) == folded.response["output"][: len(folded.done)]


@each
def test_its_stream_ends_with_its_answer(name: str) -> None:
    transcript = on_file(name)
    last = responseswire.whole(transcript.sse)[-1]["response"]
    body = transcript.answer["body"]
    if transcript.terminal.kind == "completed":
        assert last == body
        Response.model_validate_json(json.dumps(body), strict=True)
    else:
        assert last["error"]["message"] == body["error"]["message"]


@each
def test_the_scripted_worker_streams_its_bytes(player: serving.Serve, name: str) -> None:
    told = play(player, name)
    assert told.status == 200
    assert evened(told.body) == evened(on_file(name).sse)


@each
def test_the_scripted_worker_answers_its_body(player: serving.Serve, name: str) -> None:
    expected = on_file(name).answer
    told = play(player, name, stream=False)
    assert told.status == expected["status"]
    body = msgspec.json.encode(expected["body"])
    assert evened(told.body) == evened(body)
    assert expected["headers"].items() <= told.headers.items()
