"""The SQLite file that responses are kept in: its schema, and how one process opens it.

responses   one row a response, in the order they came; `body` last, for a row is read from
            its beginning and most statements need no more
items       one row an item of a conversation, in its order; they go with their response
"""

import contextlib
import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from engine import regular
from engine.store import files as storefiles
from engine.store.store import StoreError

APPLICATION_ID: Final = 0x54545250
"""The number in the header of every file of ours, `TTRP`, so that no other is taken for one."""

MIGRATIONS: Final = (
    """
    CREATE TABLE responses (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        key_id TEXT NOT NULL,
        response_id TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        status TEXT NOT NULL,
        previous_response_id TEXT,
        size INTEGER NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (key_id, response_id)
    );
    CREATE INDEX responses_by_age ON responses (created_at);
    CREATE INDEX responses_by_previous ON responses (key_id, previous_response_id)
        WHERE previous_response_id IS NOT NULL;
    CREATE INDEX responses_unfinished ON responses (status)
        WHERE status IN ('in_progress', 'queued');
    CREATE TABLE items (
        item INTEGER PRIMARY KEY,
        response INTEGER NOT NULL REFERENCES responses ON DELETE CASCADE,
        part TEXT NOT NULL CHECK (part IN ('input', 'output')),
        item_id TEXT NOT NULL,
        content BLOB NOT NULL
    );
    CREATE INDEX items_by_response ON items (response);
    CREATE INDEX items_by_id ON items (item_id);
    """,
)
"""The statements that make a file of each schema version out of one of the version before; 0 is an
empty one."""

BUSY_S: Final = 5.0
"""Seconds for which somebody else, such as an operator's shell, may hold the file before a call
fails."""

PRAGMAS: Final = (
    "auto_vacuum = INCREMENTAL",  # has to come before anything is written
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "secure_delete = ON",
    "trusted_schema = OFF",
    "journal_size_limit = 4194304",  # as much as is written between two checkpoints
)
"""The way the file is written: a commit is on the disk, and deleted content is overwritten."""


def lock(path: Path) -> int:
    """Become the one process of a store, for as long as the returned descriptor is open.

    It is a file of its own: closing the database's would drop the locks that SQLite has on it.

    Args:
        path: of the store; directories above it are made, for their owner only.

    Raises:
        StoreError: another process has it.
        OSError: there is no file that could be held; `NotRegular` where something else is.
    """
    _make_private(path.parent)
    beside = path.with_name(f"{path.name}{storefiles.LOCK}")
    held = regular.open_regular(beside, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(held, 20).decode(errors="replace").strip()
        os.close(held)
        raise StoreError(f"process {owner} keeps its responses here already") from None
    except OSError:
        os.close(held)
        raise
    os.ftruncate(held, 0)
    os.pwrite(held, b"%d\n" % os.getpid(), 0)
    return held


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, made if it is not there, and bring it to this version's schema.

    Raises:
        StoreError: it is another program's, or a newer version's.
        sqlite3.Error, OSError: it cannot be read or written.
    """
    # SQLite would have everybody read it; the files it adds itself take after this one.
    file = regular.open_regular(path, os.O_RDONLY | os.O_CREAT)
    mode = stat.S_IMODE(os.fstat(file).st_mode)
    if mode & ~stat.S_IRWXU:  # of a copy that was put back
        os.fchmod(file, mode & stat.S_IRWXU)
    os.close(file)
    database = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        version = _check(database)
        for pragma in PRAGMAS:
            database.execute(f"PRAGMA {pragma}").fetchall()
        _migrate(database, version)
    except BaseException:
        database.close()
        raise
    return database


def _make_private(directory: Path) -> None:
    """Make a directory and those above it that are missing, for their owner only."""
    for each in reversed((directory, *directory.parents)):
        if not each.exists():
            each.mkdir(mode=0o700, exist_ok=True)


def _check(database: sqlite3.Connection) -> int:
    """Return the schema version of a file that is ours, or that is empty; the check takes a second
    a GiB."""
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application or tables):
        raise StoreError("it is another program's database")
    if version > len(MIGRATIONS):
        known = len(MIGRATIONS)
        raise StoreError(f"a newer version wrote it: schema {version}, this one knows {known}")
    (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise StoreError(f"it is damaged: {found}")
    return int(version)


def _migrate(database: sqlite3.Connection, version: int) -> None:
    for number, migration in enumerate(MIGRATIONS[version:], version + 1):
        with transaction(database):
            for statement in filter(str.strip, migration.split(";")):
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {number}")


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Do what is within as a whole, and on the disk, or not at all."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:  # some failures end it themselves
            database.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def savepoint(database: sqlite3.Connection) -> Iterator[None]:
    """Do what is within, inside a transaction, as a whole or not at all."""
    database.execute("SAVEPOINT one")
    try:
        yield
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK TO one")
            database.execute("RELEASE one")
        raise
    database.execute("RELEASE one")
