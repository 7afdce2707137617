"""Every statement on the SQLite file of responses.

Nothing here knows of the event loop: `engine.sqlitestore` calls all of it from one thread.
Whatever it is asked is done as a whole, and on the disk when it returns, or not at all.
"""

import os
from pathlib import Path
from typing import Any, Final

import msgspec

from engine import responseschema
from engine.responsestore import ConversationTooLarge, ResponseMissing, StoredResponse

STEP_BYTES: Final = 1 << 20
"""About what one step of housekeeping deletes or moves; nothing else is done meanwhile."""

STEP_ROWS: Final = 256
"""Responses that one step of housekeeping looks at."""

INTERRUPTED: Final = msgspec.json.encode(
    {"code": "server_error", "message": "The response was interrupted by a restart."}
)
"""`error` of a response whose process has gone."""

Kept = tuple[StoredResponse, list[str]]
"""A response, and the ids of its items."""

Place = tuple[int, int]
"""Where a response stands by age: `created_at` and number."""


class ResponseFile:
    """The open file; all calls are to be made from one thread.

    Raises:
        StoreError: it is another process's, another program's, or a newer version's.
        sqlite3.Error, OSError: it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._lock = responseschema.lock(path)
        try:
            self._database = responseschema.connect(path)
        except BaseException:
            os.close(self._lock)
            raise
        self._page_bytes = self._number("PRAGMA page_size")

    def close(self) -> None:
        """Bring everything into the one file, and let another process have it."""
        try:
            self._database.close()
        finally:
            os.close(self._lock)

    @property
    def used(self) -> int:
        """Bytes of the file that hold something."""
        held = self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")
        return held * self._page_bytes

    def put(self, group: list[Kept], max_bytes: int) -> list[int]:
        """Commit responses together, and make room for them; the sizes of those that went for it.

        The file grows to `max_bytes`, and no further if it is larger already.
        """
        with responseschema.transaction(self._database):
            most = max(self.used, max_bytes)
            for response, item_ids in group:
                self._put(response, item_ids)
            return self._make_room(most) if max_bytes else []

    def get(self, response_id: str, key_id: str) -> StoredResponse | None:
        """A response, with its own items."""
        row = self._row(
            "SELECT number, created_at, status, previous_response_id, body FROM responses"
            " WHERE key_id = ? AND response_id = ?",
            (key_id, response_id),
        )
        if row is None:
            return None
        number, created_at, status, previous, body = row
        return StoredResponse(
            response_id=response_id,
            key_id=key_id,
            created_at=created_at,
            status=status,
            previous_response_id=previous,
            body=body,
            input=self._items(number, "input"),
            output=self._items(number, "output"),
        )

    def conversation(
        self, response_id: str, key_id: str, max_bytes: int
    ) -> tuple[msgspec.Raw, ...]:
        """All items of a response and those it goes on from, oldest first.

        Raises:
            ResponseMissing: one of them is not there.
            ConversationTooLarge: they are of more than `max_bytes`, unless that is 0.
        """
        chain: dict[str, int] = {}
        size = 0
        wanted: str | None = response_id
        while wanted is not None:
            row = self._row(
                "SELECT number, previous_response_id, size - length(body) FROM responses"
                " WHERE key_id = ? AND response_id = ?",
                (key_id, wanted),
            )
            if row is None or wanted in chain:
                raise ResponseMissing(wanted)
            chain[wanted], wanted, more = row
            size += more
            if 0 < max_bytes < size:
                raise ConversationTooLarge(f"more than {max_bytes} bytes")
        return tuple(
            item
            for number in reversed(chain.values())
            for part in ("input", "output")
            for item in self._items(number, part)
        )

    def items(self, item_ids: tuple[str, ...], key_id: str) -> dict[str, msgspec.Raw]:
        """Those of some items that are there, by id."""
        found = {}
        for item_id in item_ids:
            row = self._row(
                "SELECT content FROM items WHERE item = (SELECT item FROM items"
                " JOIN responses ON number = response WHERE item_id = ? AND key_id = ?"
                " ORDER BY part DESC, item DESC LIMIT 1)",
                (item_id, key_id),
            )
            if row is not None:
                found[item_id] = msgspec.Raw(row[0])
        return found

    def delete(self, response_id: str, key_id: str) -> bool:
        """Forget a response and its items; whether it was there."""
        with responseschema.transaction(self._database):
            deleted = self._database.execute(
                "DELETE FROM responses WHERE key_id = ? AND response_id = ?",
                (key_id, response_id),
            )
            return deleted.rowcount > 0

    def fail_unfinished(self) -> int:
        """Have all that is queued or in progress be failed; how many there were."""
        with responseschema.transaction(self._database):
            numbers = self._database.execute(
                "SELECT number FROM responses WHERE status IN ('in_progress', 'queued')"
            ).fetchall()
            for (number,) in numbers:
                (body,) = self._row("SELECT body FROM responses WHERE number = ?", (number,))
                fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
                fields |= {"status": msgspec.Raw(b'"failed"'), "error": msgspec.Raw(INTERRUPTED)}
                failed = msgspec.json.encode(fields)
                self._database.execute(
                    "UPDATE responses SET status = 'failed', body = ?, size = size + ?"
                    " WHERE number = ?",
                    (failed, len(failed) - len(body), number),
                )
        return len(numbers)

    def expire(self, below: Place) -> tuple[list[int], Place | None]:
        """A step down through the responses before a place, the youngest first.

        Those go that no response goes on from. So a whole conversation goes in one pass, its last
        response first, and whatever it shares with one that stays is kept.

        Returns:
            The sizes of those that went, and where the next step begins; None at the end.
        """
        gone: list[int] = []
        with responseschema.transaction(self._database):
            rows = self._database.execute(
                "SELECT created_at, number, size FROM responses"
                " WHERE (created_at, number) < (?, ?)"
                " ORDER BY created_at DESC, number DESC LIMIT ?",
                (*below, STEP_ROWS),
            ).fetchall()
            for created_at, number, size in rows:
                deleted = self._database.execute(
                    "DELETE FROM responses WHERE number = ? AND NOT EXISTS (SELECT 1"
                    " FROM responses AS later WHERE later.key_id = responses.key_id"
                    " AND later.previous_response_id = responses.response_id)",
                    (number,),
                )
                if deleted.rowcount:
                    gone.append(size)
                if sum(gone) >= STEP_BYTES:
                    return gone, (created_at, number)
        return gone, rows[-1][:2] if len(rows) == STEP_ROWS else None

    def shrink(self, max_bytes: int) -> list[int]:
        """A step towards a size: the sizes of the responses that went, none when it is reached."""
        with responseschema.transaction(self._database):
            return self._make_room(max(max_bytes, self.used - STEP_BYTES))

    def compact(self) -> bool:
        """A step of giving free pages back to the disk; whether there may be more."""
        free = self._number("PRAGMA freelist_count")
        pages = STEP_BYTES // self._page_bytes
        # It gives a row without columns for each page, at the first of which execute() would stop.
        self._database.executescript(f"PRAGMA incremental_vacuum({pages})")
        return 0 < self._number("PRAGMA freelist_count") < free

    def checkpoint(self) -> None:
        """Empty the write-ahead log into the file, unless somebody is reading from it."""
        self._database.execute("PRAGMA busy_timeout = 0")
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._database.execute(f"PRAGMA busy_timeout = {responseschema.BUSY_S * 1000:.0f}")

    def _put(self, response: StoredResponse, item_ids: list[str]) -> None:
        self._database.execute(
            "INSERT INTO responses (key_id, response_id, created_at, status,"
            " previous_response_id, size, body) VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (key_id, response_id) DO UPDATE SET created_at = excluded.created_at,"
            " status = excluded.status, previous_response_id = excluded.previous_response_id,"
            " size = excluded.size, body = excluded.body",
            (
                response.key_id,
                response.response_id,
                response.created_at,
                response.status,
                response.previous_response_id,
                response.size,
                response.body,
            ),
        )
        number = self._number(
            "SELECT number FROM responses WHERE key_id = ? AND response_id = ?",
            (response.key_id, response.response_id),
        )
        self._database.execute("DELETE FROM items WHERE response = ?", (number,))
        parts = ["input"] * len(response.input) + ["output"] * len(response.output)
        rows = zip(parts, item_ids, response.items, strict=True)
        self._database.executemany(
            "INSERT INTO items (response, part, item_id, content) VALUES (?, ?, ?, ?)",
            ((number, part, item_id, memoryview(item)) for part, item_id, item in rows),
        )

    def _make_room(self, max_bytes: int) -> list[int]:
        """Delete the oldest responses, but for the last, until what is used is within a size."""
        gone: list[int] = []
        while self.used > max_bytes:
            rows = self._database.execute(
                "SELECT number, size FROM responses ORDER BY created_at, number LIMIT 2"
            ).fetchall()
            if len(rows) < 2:
                break
            number, size = rows[0]
            self._database.execute("DELETE FROM responses WHERE number = ?", (number,))
            gone.append(size)
        return gone

    def _items(self, number: int, part: str) -> tuple[msgspec.Raw, ...]:
        rows = self._database.execute(
            "SELECT content FROM items WHERE response = ? AND part = ? ORDER BY item",
            (number, part),
        )
        return tuple(msgspec.Raw(content) for (content,) in rows)

    def _row(self, query: str, values: tuple[Any, ...] = ()) -> Any:
        return self._database.execute(query, values).fetchone()

    def _number(self, query: str, values: tuple[Any, ...] = ()) -> int:
        return int(self._row(query, values)[0])
