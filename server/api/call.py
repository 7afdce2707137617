"""A request on its way to its endpoint, and the plain JSON answer that most endpoints give."""

from typing import Final

import msgspec

from server.access.entry import Entry
from server.api import gates
from server.http.errors import ApiError
from server.http.exchange import Exchange, HeaderList

JSON: Final = ("content-type", "application/json")


class Call(msgspec.Struct, frozen=True):
    """One request that has passed the gates.

    Attributes:
        headers: of every answer to it.
        entry: in the access log.
        tail: what stands in the path for the route's `{}`, percent-decoded.
    """

    exchange: Exchange
    caller: gates.Caller
    headers: HeaderList
    entry: Entry
    tail: str = ""

    def answer(self, status: int, body: object) -> None:
        """Answer with a JSON body."""
        headers = [*self.headers, JSON]
        self.exchange.respond(status, headers, msgspec.json.encode(body))

    def expect_json(self) -> None:
        """Refuse a body that is not labelled as JSON (RFC 9110 §15.5.16).

        Raises:
            ApiError: `unsupported_media_type`.
        """
        content_type = self.exchange.request.headers.get("content-type") or ""
        if content_type.partition(";")[0].strip().lower() != "application/json":
            message = "The request body must be sent as `content-type: application/json`."
            raise ApiError("unsupported_media_type", message)
        encoding = self.exchange.request.headers.get("content-encoding") or "identity"
        if encoding.strip().lower() != "identity":
            message = "The request body must be sent without a `content-encoding`."
            raise ApiError(
                "unsupported_media_type", message, headers=(("accept-encoding", "identity"),)
            )
