"""Four times as many items of a Responses request take about four times as long."""

import contextlib
from collections.abc import Callable

import msgspec
import pytest

from engine import slices, worker
from engine.store import store as responsestore
from server.http.errors import ApiError
from server.http.exchange import Headers
from server.responses.render import echo
from server.responses.request import conversation, options
from tests.support.process import growth
from tests.support.requests import chatrequests, largeresponses, requestwork, responserequests

pytestmark = pytest.mark.slow

SIZE = 200_000
"""Bytes of the smaller body: of some thousand items, so that copies of copies show."""


def read(body: bytes, name: str) -> None:
    """All that is done to a request before a worker's first line, and for the store."""
    settings = requestwork.settings()
    limit = settings.max_input_items
    request, ignored = responserequests.parse(body, limit)
    listed = slices.at_once(conversation.listed(request.items))
    found = dict.fromkeys(slices.at_once(conversation.references(request.items)), listed[0].raw)
    own = slices.at_once(conversation.resolve(listed, found, limit))
    kept = [each.raw for each in own]
    slices.at_once(echo.of(chatrequests.members(body, limit)))
    earlier = slices.at_once(conversation.read(kept, limit))
    items = [each.item for each in own]
    messages = slices.at_once(conversation.messages(items, request.prologue, earlier))
    way = options.passthrough if name == "upstream" else options.read
    asked = slices.at_once(way(request, ignored, messages, Headers([]), settings))
    for item in kept:
        responsestore.item_id(item)
    requestwork.keep(body, settings)
    translated = responserequests.chat_body(request, messages) if name == "upstream" else {}
    requestwork.SEND[name](msgspec.structs.replace(asked, body=translated))


@pytest.mark.long(usual=("codex-messages", "upstream-messages"))
@pytest.mark.parametrize("kind", largeresponses.KINDS)
@pytest.mark.parametrize("name", requestwork.WORK)
def test_time_is_linear_in_the_items(name: str, kind: str) -> None:
    def prepare(size: int) -> Callable[[], object]:
        body = largeresponses.of_size(kind, size)

        def run() -> None:
            with contextlib.suppress(ApiError, worker.TurnRefused):  # which must not take long
                read(body, name)

        return run

    growth.check_linear(prepare, SIZE)
