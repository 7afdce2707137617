"""The interface of a store of `/v1/responses`: what it keeps, and what every engine of one
promises.

A client that asks for it (`store`) finds its response again: by id, as what a later request goes
on from (`previous_response_id`), and by the ids of its items (`item_reference`). Everything in a
store belongs to the key that made it; asked with another key's id it is not there.
"""

import enum
from typing import Final, Literal, Protocol

import msgspec

from machines import parse

Status = Literal["completed", "incomplete", "failed", "cancelled", "in_progress", "queued"]
"""The status of a response, in the API's own words."""


class StoredResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response as it is kept.

    Attributes:
        key_id: the owner it belongs to, by the name of a key; never the key.
        created_at: seconds since the epoch.
        body: the response object as the API answers it, JSON.
        input: the request's own items, without those it went on from; each an object with an `id`.
        output: its output items, likewise; they may hold more than `body` shows.
    """

    response_id: str
    key_id: str
    created_at: int
    status: Status
    previous_response_id: str | None = None
    body: bytes
    input: tuple[msgspec.Raw, ...] = ()
    output: tuple[msgspec.Raw, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of its body and items."""
        return len(self.body) + sum(memoryview(item).nbytes for item in self.items)

    @property
    def items(self) -> tuple[msgspec.Raw, ...]:
        """Its part of the conversation, oldest first."""
        return self.input + self.output


class Health(enum.Enum):
    """Whether a store does what it is asked, in the words of `/healthz`."""

    WORKING = "working"
    FAILING = "failing"


class Identified(msgspec.Struct):
    """The member that every kept item has."""

    id: str


_identified: Final = msgspec.json.Decoder(Identified)
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def item_id(item: msgspec.Raw) -> str:
    """Return the id of an item.

    Raises:
        ParseError: it is not an object with one.
    """
    return parse.parse(item, _identified).id


def failed(body: bytes, message: str) -> bytes:
    """Turn an unfinished response object into one that has failed."""
    fields = parse.parse_outer(body, _members)
    error = {"code": "server_error", "message": message}
    return msgspec.json.encode({**fields, "status": "failed", "error": error})


class Limits(msgspec.Struct, frozen=True):
    """The limits of a store: age, size, and the length of a conversation.

    Attributes:
        ttl_s: since a response was made, and since the last that goes on from it; 0 for no limit.
        max_bytes: of the whole store, above which the oldest go; 0 for no limit.
        conversation_bytes: of one conversation that is read; 0 for no limit.
    """

    ttl_s: int = 30 * 86_400
    max_bytes: int = 1 << 30
    conversation_bytes: int = 0


class StoreCounts(msgspec.Struct):
    """Counts of a store since its process began, for metrics.

    Attributes:
        failures: responses that were not kept, or not in the time that was waited for them; other
            calls that failed for the store's own reasons; and files that were lost.
        files_lost: files that were deleted, replaced or cut short while they were open.
        responses_pruned: responses that went by age or size, of `bytes_pruned` together.
    """

    failures: int = 0
    files_lost: int = 0
    responses_pruned: int = 0
    bytes_pruned: int = 0


class StoreError(Exception):
    """Raised where the store cannot do what it was asked: its disk, its file, its owner."""


class ResponseMissing(Exception):
    """Raised where a conversation has a part that is not there for its key.

    Attributes:
        response_id: of the response that is missing, which need not be the one asked for.
    """

    def __init__(self, response_id: str) -> None:
        super().__init__(f"no response {response_id!r}")
        self.response_id = response_id


class ConversationTooLarge(Exception):
    """Raised where a conversation has more bytes than `Limits.conversation_bytes`."""


class ResponseStore(Protocol):
    """A store that keeps responses, whatever its engine.

    What changes the store takes effect in the order it is asked for, and a call sees all that was
    asked for before it. One that is cancelled may still take effect. Every call may raise
    `StoreError`, also where the store is not open.

    Attributes:
        counts: for metrics.
        health: whether what was last asked to be kept is.
    """

    counts: StoreCounts
    health: Health

    async def open(self) -> None:
        """Make the store ready, for this process alone."""

    async def close(self) -> None:
        """Finish what was asked, and let another process have it."""

    async def put(self, response: StoredResponse) -> None:
        """Keep a response, in the place of one with its id; returns once that is committed.

        Raises:
            ParseError: an item is not an object with an `id`.
        """

    async def get(self, response_id: str, key_id: str) -> StoredResponse | None:
        """Return a response with its own items; None if this key has no such response."""

    async def conversation(self, response_id: str, key_id: str) -> tuple[msgspec.Raw, ...]:
        """Return all items of a response and those it goes on from, oldest first.

        Raises:
            ResponseMissing: one of them is not there.
            ConversationTooLarge: it is longer than a client may be answered.
        """

    async def items(self, item_ids: tuple[str, ...], key_id: str) -> dict[str, msgspec.Raw]:
        """Return those of some items that are there, by id.

        Clients send items again, so an id may stand for several: an output goes before an input,
        and then the newest.
        """

    async def delete(self, response_id: str, key_id: str) -> bool:
        """Delete a response and its items; return whether it was there."""

    async def interrupted(self) -> int:
        """Mark all unfinished responses as failed, since their process has gone; return how many
        there were.

        For a start, before anything new is put.
        """

    async def adopt(self, former: str, key_id: str) -> int:
        """Have what belonged to `former` belong to another owner; return how many responses."""

    async def check(self) -> None:
        """Notice what happened to the store's files, and try again what failed; never raises.

        Whoever has the store calls it once a second.
        """

    async def prune(self) -> None:
        """Apply the limits. A failure is logged and counted, and the next call tries again.

        A response past its age stays while a later one that stays goes on from it. Size is the
        harder limit: the oldest go, whoever goes on from them.
        """
