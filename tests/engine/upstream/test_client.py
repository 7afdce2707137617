"""What an upstream's HTTP client makes of listings, of labels, and of there being no response."""

import asyncio
import errno
import os
from typing import Any

import aiohttp
import pytest

from engine import slices
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
    assert upstreamclient.retry_after_of(response) is None


def test_the_upstreams_pause_is_read() -> None:
    response: Any = Labelled(retry_after="7")
    assert upstreamclient.retry_after_of(response) == 7


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
    assert (found.models, found.beyond) == (models, False)


def test_a_listing_of_any_length_is_cut() -> None:
    rows = b",".join(b'{"id":"m%d"}' % number for number in range(upstreamclient.MODELS_MAX + 1))
    found = slices.at_once(upstreamclient.listing(b'{"data":[%b]}' % rows))
    assert (len(found.models), found.beyond) == (upstreamclient.MODELS_MAX, True)
    rows = rows.rpartition(b",")[0]
    found = slices.at_once(upstreamclient.listing(b'{"data":[%b]}' % rows))
    assert (len(found.models), found.beyond) == (upstreamclient.MODELS_MAX, False)
