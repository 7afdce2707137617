"""Responses requests as the server reads them, for tests of what it makes of one."""

from collections.abc import Mapping
from typing import Any

import msgspec

from engine import slices, worker
from server.http import reading
from server.responses.request import (
    body as responsesbodies,
    conversation,
    input_items,
    options,
    to_chat,
)
from tests.support.requests import chatrequests
from tests.support.requests.chatrequests import LIMIT


def parse(
    body: bytes, limit: int = LIMIT
) -> tuple[responsesbodies.ResponsesRequest, tuple[str, ...]]:
    """A request, and the names of what nothing honours."""
    return slices.at_once(responsesbodies.parse(chatrequests.members(body, limit), limit))


def read_item(raw: msgspec.Raw, path: str = "input[0]") -> input_items.AnyItem:
    """One item."""
    return slices.at_once(input_items.read(raw, path, LIMIT))


def resolved(
    request: responsesbodies.ResponsesRequest, found: Mapping[str, msgspec.Raw] | None = None
) -> list[conversation.Listed]:
    """The items of a request as the API lists them, what was found in the places of what refers
    to it."""
    listed = slices.at_once(conversation.listed(request.items))
    if found is None:
        return listed
    return slices.at_once(conversation.resolve(listed, found, LIMIT))


def kept(
    request: responsesbodies.ResponsesRequest, found: Mapping[str, msgspec.Raw] | None = None
) -> tuple[msgspec.Raw, ...]:
    """The same, as they are kept."""
    return tuple(each.raw for each in resolved(request, found))


def messages(
    request: responsesbodies.ResponsesRequest,
    found: Mapping[str, msgspec.Raw] | None = None,
    earlier: tuple[msgspec.Raw, ...] = (),
) -> tuple[worker.Message, ...]:
    """What a worker is told."""
    items = [each.item for each in resolved(request, found)]
    before = slices.at_once(conversation.read(earlier, LIMIT))
    made = conversation.messages(items, request.prologue, before, request.offered)
    return slices.at_once(made)


def chat_body(
    request: responsesbodies.ResponsesRequest, messages: tuple[worker.Message, ...]
) -> reading.Members:
    """The chat completion that a request becomes."""
    tools = options.tools(request)
    return slices.at_once(to_chat.chat_body(request, messages, tools))


def decoded(members: reading.Members) -> Any:
    """Members as plain values."""
    return msgspec.json.decode(msgspec.json.encode(members))
