"""Requests as the server reads them, for tests of what it makes of one."""

from typing import Any

import msgspec

from engine import slices
from server.api.options import AnswerOptions
from server.chat import passthrough, request as chatbodies, translate
from server.config.settings import Config
from server.http import reading
from server.http.exchange import Headers

LIMIT = 16_384
"""`PROXY_MAX_INPUT_ITEMS`, as it is by default."""


def members(body: bytes, limit: int = LIMIT) -> reading.Members:
    """The members of a body."""
    return slices.at_once(reading.members_of(body, limit))


def parse(body: bytes, limit: int = LIMIT) -> tuple[chatbodies.ChatRequest, tuple[str, ...]]:
    """A chat request, and the names of what nothing honours."""
    return slices.at_once(chatbodies.parse(members(body, limit), limit))


def read(body: bytes, config: Config, headers: Headers | None = None) -> AnswerOptions:
    """What a chat request asks of a worker that is given turns."""
    found = members(body, config.max_input_items)
    return slices.at_once(translate.read(found, headers or Headers([]), config))


def pass_on(body: bytes, config: Config, headers: Headers | None = None) -> AnswerOptions:
    """What a chat request asks of a worker that is given the request itself."""
    found = members(body, config.max_input_items)
    return slices.at_once(passthrough.read(found, headers or Headers([]), config))


def raw_members(body: dict[str, Any]) -> dict[str, msgspec.Raw]:
    """A body's members as they come."""
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in body.items()}
