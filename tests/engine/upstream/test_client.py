"""What an upstream's HTTP client makes of listings, of labels, and of there being no response."""

import asyncio
import errno
import gc
import os
import types
from typing import Any

import aiohttp
import pytest

from engine import slices, worker
from engine.upstream import client as upstreamclient, errors as upstreamerrors

KEY = aiohttp.client_reqrep.ConnectionKey("h", 1, False, True, None, None, None)


class Labelled:
    """A response with these headers."""

    def __init__(self, **headers: str) -> None:
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.mark.parametrize(
    ("label", "is_stream"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream; charset=utf-8", True),
        (" text/event-stream ;x", True),
        ("text/event-stream-x", False),
        ("application/json", False),
        ("", False),
    ],
)
def test_an_event_stream_is_known_by_its_label(label: str, is_stream: bool) -> None:
    response: Any = Labelled(content_type=label)
    assert upstreamclient.is_event_stream(response) == is_stream


def test_without_a_label_it_is_none() -> None:
    response: Any = Labelled()
    assert not upstreamclient.is_event_stream(response)
    assert upstreamclient.advice_of(response) == upstreamerrors.NO_ADVICE


def test_the_upstreams_pause_is_read() -> None:
    response: Any = Labelled(retry_after="7")
    assert upstreamclient.advice_of(response) == upstreamerrors.Advice(7)
    response = Labelled(retry_after="7", retry_after_ms="300", x_should_retry="False")
    assert upstreamclient.advice_of(response) == upstreamerrors.Advice(0.3, False)
    response = Labelled(retry_after="7", retry_after_ms="soon", x_should_retry="maybe")
    assert upstreamclient.advice_of(response) == upstreamerrors.Advice(7)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (TimeoutError(), upstreamerrors.UNREACHABLE_IN_TIME),
        (aiohttp.ClientConnectorError(KEY, OSError(111, "no")), upstreamerrors.UNREACHABLE),
        (UnicodeError("label too long"), upstreamerrors.UNREACHABLE),
        (aiohttp.ServerDisconnectedError(), upstreamerrors.DISCONNECTED),
        (ConnectionResetError(), upstreamerrors.DISCONNECTED),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), upstreamerrors.EXHAUSTED),
        (aiohttp.ClientPayloadError(), upstreamerrors.NO_ANSWER),
        (asyncio.InvalidStateError(), upstreamerrors.NO_ANSWER),
    ],
)
def test_what_it_means_that_there_is_no_response(error: Exception, failure: object) -> None:
    assert upstreamclient.failure_of(error) is failure


@pytest.mark.parametrize(
    ("body", "models"),
    [
        (b'{"object":"list","data":[{"id":"a"},{"id":"b","more":[]}]}', ("a", "b")),
        (b'[{"id":"a"}]', ("a",)),
        (b' [{"id":"a"},{"name":"b"},7,{"id":7},{"id":"a"}]', ("a",)),
        (b'{"data":[]}', ()),
        (b'{"models":[]}', ()),
        (b"<html>", ()),
        (b"[" * 100_000, ()),
    ],
)
def test_a_listing_is_read_in_any_form(body: bytes, models: tuple[str, ...]) -> None:
    found = slices.at_once(upstreamclient.listing(body))
    assert (tuple(found.models), found.beyond) == (models, False)


def cards(body: bytes) -> dict[str, worker.ModelCard]:
    return slices.at_once(upstreamclient.listing(body)).models


def test_a_rows_own_members_are_kept() -> None:
    row = b'{"id":"a","object":"x","created":5,"owned_by":"me","max_model_len":8,"p":{"q":[1.5]}}'
    expected = worker.ModelCard(5, "me", b'{"max_model_len":8,"p":{"q":[1.5]}}')
    assert cards(b"[%b]" % row) == {"a": expected}


@pytest.mark.parametrize(
    "members",
    [
        '"created":"today","owned_by":null',
        '"created":true,"owned_by":["me"]',
        '"created":1e400',
        '"created":1.5',
        '"x":"%s"' % ("y" * upstreamclient.ROW_BYTES),
    ],
)
def test_what_cannot_be_passed_on_costs_no_row(members: str) -> None:
    assert cards(f'[{{"id":"a",{members}}}]'.encode()) == {"a": worker.ModelCard()}


def test_bytes_that_are_no_text_are_not_passed_on() -> None:
    assert cards(b'[{"id":"a","x":"\xff"},{"id":"b"}]')["a"] == worker.ModelCard()


def test_a_listing_of_any_length_is_cut() -> None:
    rows = b",".join(b'{"id":"m%d"}' % number for number in range(upstreamclient.MODELS_MAX + 1))
    found = slices.at_once(upstreamclient.listing(b'{"data":[%b]}' % rows))
    assert (len(found.models), found.beyond) == (upstreamclient.MODELS_MAX, True)
    rows = rows.rpartition(b",")[0]
    found = slices.at_once(upstreamclient.listing(b'{"data":[%b]}' % rows))
    assert (len(found.models), found.beyond) == (upstreamclient.MODELS_MAX, False)


class Answering:
    """A response as its connection sees it: a body that is still to come."""

    def __init__(self, closed: asyncio.Future[None] | None) -> None:
        self.connection = types.SimpleNamespace(protocol=types.SimpleNamespace(closed=closed))
        self.broken: BaseException | None = None
        self.content = self

    def is_eof(self) -> bool:
        return False

    def exception(self) -> BaseException | None:
        return self.broken

    def set_exception(self, error: BaseException) -> None:
        self.broken = error


def test_a_watch_ends_with_its_answer_and_not_with_the_connection() -> None:
    """A connection serves many responses: none hears of the end of another's."""
    complaints: list[Any] = []

    async def main() -> list[bool]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        closed: asyncio.Future[None] = loop.create_future()
        answers: list[Any] = [Answering(closed) for _ in range(3)]
        for answer in answers[:2]:
            upstreamclient.ConnectionWatch(answer).close()
        last = upstreamclient.ConnectionWatch(answers[2])
        closed.set_exception(aiohttp.ClientConnectionError("Connection lost"))
        await asyncio.sleep(0)
        last.close()
        return [answer.broken is not None for answer in answers]

    assert asyncio.run(main()) == [False, False, True]
    gc.collect()
    assert complaints == []


def test_a_connection_that_is_gone_already_breaks_its_answer() -> None:
    answer: Any = Answering(None)
    upstreamclient.ConnectionWatch(answer)
    assert isinstance(answer.broken, aiohttp.ClientPayloadError)
