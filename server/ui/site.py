"""The routes of the page's server: the page, and the log as JSON. None changes anything.

A log is read on one thread, so that a long look at it delays the next and not the connections.
"""

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import msgspec

from engine.log.find import names, query
from engine.log.summary import rows
from server.http import exchange as http
from server.http.errors import ApiError
from server.ui import document, door, machine, view

FIELDS: Final = 16
"""Most parameters of a query."""

SPARKS_AT_ONCE: Final = 100
"""Most streams whose silences are asked for at once: more than fit on a screen."""

HEADERS: Final = (
    ("cache-control", "no-store"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
)
"""Headers of every answer: nothing of it is kept, handed on, or taken for what it is not."""

ENTERED: Final = (
    b'<!doctype html><html lang="en"><meta charset="utf-8"><title>Turntape</title>'
    b'<meta http-equiv="refresh" content="0; url=/"><a href="/">Open the log</a></html>\n'
)
"""The answer to the token: not a redirect, because a browser that was led here by a link of
another site would follow that without the cookie, which is for requests of the same site alone."""

_STREAM: Final = re.compile(r"/api/streams/([^/]+)(?:/(records|bytes))?")

Answer = Callable[[], Any]
"""Reads the log for an answer."""


class Site:
    """Answers requests for one log.

    Args:
        log: waits for the disk.
        gate: lets in whoever has the link.
    """

    def __init__(self, log: view.View, gate: door.Door) -> None:
        self._log = log
        self._door = gate
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ui")

    async def handle(self, exchange: http.Exchange) -> None:
        """Answer one request.

        Raises:
            ApiError: as it is to be answered.
        """
        request = exchange.request
        door.check_origin(request)
        if request.method not in ("GET", "HEAD"):
            raise ApiError("method_not_allowed", "Only GET is served.")
        given = _given(request)
        if request.path == "/" and "token" in given:
            cookie = self._door.open(request, given["token"])
            _respond(exchange, "text/html; charset=utf-8", ENTERED, cookie)
            return
        self._door.check(request)
        if request.path == "/":
            page = document.served()
            policy = [("content-security-policy", page.policy)]
            _respond(exchange, "text/html; charset=utf-8", page.body, policy)
            return
        answer = self._answer(request.path, given)
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(self._thread, _encoded, answer)
        _respond(exchange, "application/json", body, [])

    def close(self) -> None:
        """Read nothing any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _answer(self, path: str, given: dict[str, str]) -> Answer:
        """The reading that a path asks for.

        Raises:
            ApiError: there is no such path, or its query cannot be used.
        """
        log = self._log
        if path == "/api/machine":
            return machine.drawn
        if path == "/api/streams":
            limit = _limit(given)
            wanted, before = given.get("query", ""), given.get("before", "")
            return lambda: log.rows(wanted, before, limit)
        if path == "/api/sparks":
            streams = given.get("ids", "").split(",")[:SPARKS_AT_ONCE]
            return lambda: log.sparks(streams)
        found = _STREAM.fullmatch(path)
        if found is None:
            raise ApiError("not_found", "There is no such route.")
        name, part = unquote(found[1]), found[2]
        of = {None: log.timeline, "records": log.records, "bytes": log.seen}[part]
        return lambda: of(name)


def _given(request: http.Request) -> dict[str, str]:
    try:
        given = parse_qs(request.query, keep_blank_values=True, max_num_fields=FIELDS)
    except ValueError:
        raise ApiError("invalid_request", f"The query has over {FIELDS} parameters.") from None
    return {name: values[-1] for name, values in given.items()}


def _limit(given: dict[str, str]) -> int:
    text = given.get("limit", "1000")
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= view.MOST_ROWS):
        raise ApiError("invalid_request", f"'limit' must be from 1 to {view.MOST_ROWS}.", "limit")
    return int(text)


def _encoded(answer: Answer) -> bytes:
    try:
        return msgspec.json.encode(answer())
    except query.QueryError as error:
        raise ApiError("invalid_request", str(error), "query") from None
    except names.Ambiguous as error:
        several = ", ".join(row.summary for row in error.found[: names.NEAR_MOST])
        raise ApiError("invalid_request", f"Several streams have that name: {several}.") from None
    except names.Gone as error:
        raise ApiError("not_found", _gone(error.row)) from None
    except names.NotFound as error:
        near = f" Near: {', '.join(error.near)}." if error.near else ""
        raise ApiError("not_found", f"No stream of this log has that name.{near}") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ApiError("internal_error", f"The log cannot be read: {reason}.") from None


def _gone(row: rows.Summary) -> str:
    """What is left to say of a stream without records."""
    how = "were erased" if row.purged else "were deleted with their segment"
    code = f" ({row.code})" if row.code else ""
    return f"Its records {how}. All that is known is its row: it ended as {row.kind}{code}."


def _respond(exchange: http.Exchange, kind: str, body: bytes, more: http.HeaderList) -> None:
    exchange.respond(200, [("content-type", kind), *HEADERS, *more], body)
