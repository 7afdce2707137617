"""Every statement on the SQLite file of responses.

Nothing here knows of the event loop: `engine.store.sqlite` calls all of it from one thread.
Whatever it is asked is done as a whole, and on the disk when it returns, or not at all.
"""

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from engine.store import files as storefiles, schema as responseschema, store as responsestore
from engine.store.store import ConversationTooLarge, ResponseMissing, StoredResponse

STEP_BYTES: Final = 1 << 20
"""Bytes that one step of housekeeping deletes or moves, about; nothing else is done meanwhile."""

STEP_ROWS: Final = 256
"""Responses that one step of housekeeping looks at."""

INTERRUPTED: Final = "The response was interrupted by a restart."
"""The error of a response whose process has gone."""

Place = tuple[int, int]
"""The place of a response by age: `created_at` and number."""


class Outcome(NamedTuple):
    """The result of committing a group.

    Attributes:
        refused: what failed, by the position of its response.
        pruned: sizes of the responses that went to make room.
        unpruned: why there is not as much room as there should be.
    """

    refused: dict[int, Exception]
    pruned: list[int]
    unpruned: Exception | None


class ResponseFile:
    """The open file; all calls are to be made from one thread.

    Attributes:
        files: what it and the files beside it are on the disk.

    Raises:
        StoreError: it is another process's, another program's, or a newer version's.
        sqlite3.Error, OSError: it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.files = storefiles.StoreFiles(path)
        self._open()

    def _open(self) -> None:
        self.files.refuse_others()
        self._lock: int | None = responseschema.lock(self._path)
        try:
            self._database = responseschema.connect(self._path)
            self._page_bytes = self._number("PRAGMA page_size")
            self.files.begin()
        except BaseException:
            self._release()
            raise

    @property
    def is_open(self) -> bool:
        """Whether there is an open file: not after a `reopen` that failed."""
        return self._lock is not None

    def close(self) -> None:
        """Write everything into the one file, and let another process have it."""
        try:
            self._database.close()
        finally:
            self._release()

    def _release(self) -> None:
        """Let another process have the store."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def reopen(self) -> None:
        """Begin anew with what is at the path now: another file, or none.

        Raises:
            As the class; the file is closed then, and another call tries again.
        """
        with contextlib.suppress(sqlite3.Error):
            self.close()
        self.files.remove_logs()
        self._open()

    def try_writing(self) -> None:
        """Write what is there already, to see whether anything can be written; raises if not."""
        self._database.execute("PRAGMA busy_timeout = 0")  # it is asked again
        try:
            with responseschema.transaction(self._database):
                version = self._number("PRAGMA user_version")
                self._database.execute(f"PRAGMA user_version = {version}")
        finally:
            self._database.execute(f"PRAGMA busy_timeout = {responseschema.BUSY_S * 1000:.0f}")

    @property
    def used(self) -> int:
        """Bytes of the file's pages that are in use."""
        held = self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")
        return held * self._page_bytes

    def put(self, group: list[StoredResponse], max_bytes: int) -> Outcome:
        """Commit responses together, and make room for them.

        One that cannot be written is left out, and takes none of the others along; nor does room
        that cannot be made. The file grows to `max_bytes`, and no further if it is larger already.
        """
        refused: dict[int, Exception] = {}
        with responseschema.transaction(self._database):
            most = max(self.used, max_bytes)
            for position, response in enumerate(group):
                try:
                    with responseschema.savepoint(self._database):
                        self._put(response)
                except Exception as error:
                    if not self._database.in_transaction:  # SQLite gave up on all of them
                        raise
                    refused[position] = error
            pruned: list[int] = []
            try:
                with responseschema.savepoint(self._database):
                    pruned = self._make_room(most) if max_bytes else []
            except Exception as error:
                if not self._database.in_transaction:
                    raise
                return Outcome(refused, [], error)
            return Outcome(refused, pruned, None)

    def get(self, response_id: str, key_id: str) -> StoredResponse | None:
        """Return a response with its own items; None if this key has no such response."""
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
        """Return all items of a response and those it goes on from, oldest first.

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
        """Return those of some items that are there, by id."""
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
        """Delete a response and its items; return whether it was there."""
        with responseschema.transaction(self._database):
            deleted = self._database.execute(
                "DELETE FROM responses WHERE key_id = ? AND response_id = ?",
                (key_id, response_id),
            )
            return deleted.rowcount > 0

    def fail_unfinished(self) -> int:
        """Mark all responses that are queued or in progress as failed; return how many there
        were."""
        with responseschema.transaction(self._database):
            numbers = self._database.execute(
                "SELECT number FROM responses WHERE status IN ('in_progress', 'queued')"
            ).fetchall()
            for (number,) in numbers:
                (body,) = self._row("SELECT body FROM responses WHERE number = ?", (number,))
                failed = responsestore.failed(body, INTERRUPTED)
                self._database.execute(
                    "UPDATE responses SET status = 'failed', body = ?, size = size + ?"
                    " WHERE number = ?",
                    (failed, len(failed) - len(body), number),
                )
        return len(numbers)

    def adopt(self, former: str, key_id: str) -> int:
        """Have what belonged to `former` belong to another owner; return how many responses."""
        with responseschema.transaction(self._database):
            return self._database.execute(
                "UPDATE OR IGNORE responses SET key_id = ? WHERE key_id = ?", (key_id, former)
            ).rowcount

    def expire(self, below: Place) -> tuple[list[int], Place | None]:
        """Delete, in one step, expired responses that come before a place, the youngest first.

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
        """Delete the oldest responses in one step towards a size; return the sizes of those that
        went, none when it is reached."""
        with responseschema.transaction(self._database):
            return self._make_room(max(max_bytes, self.used - STEP_BYTES))

    def compact(self) -> bool:
        """Give free pages back to the disk in one step; return whether there may be more."""
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

    def _put(self, response: StoredResponse) -> None:
        item_ids = [responsestore.item_id(item) for item in response.items]
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
        """Delete the oldest responses, but for the last, until the used bytes are within a
        size."""
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
