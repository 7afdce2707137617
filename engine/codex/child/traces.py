"""Codex's database of traces, kept empty while the server runs.

Codex writes what it does at every level into `logs_N.sqlite`, whatever `RUST_LOG` and its settings
say: 40 kB a turn on 0.163.0, 50 kB on 0.169.0 and 0.171.0, of which little is ever pruned. Nothing
here reads them, and no setting turns them off. A trigger in the database does: each row is dropped
before it is written, in the process that would have written it.
"""

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Final

import structlog

LOCK_WAIT_S: Final = 1.0
"""Seconds to wait for a database that Codex writes to: one of its writes takes milliseconds."""

_TRIGGER: Final = """
CREATE TRIGGER IF NOT EXISTS turntape_keeps_none BEFORE INSERT ON logs
BEGIN SELECT RAISE(IGNORE); END
"""
"""`RAISE(IGNORE)` leaves out the row and is no error for whoever inserts it. Source: SQLite's
`CREATE TRIGGER`."""

_log = structlog.get_logger(component="codex")


async def stop(directory: Path) -> None:
    """Have no more traces kept in the databases of a directory, which a running Codex has made.

    What is there already is left alone. Databases that cannot be changed grow as they would have,
    until the next start wipes them; a warning says so.
    """
    if found := _databases(directory):
        await asyncio.to_thread(_stop, found)  # it waits for the disk


def _databases(directory: Path) -> tuple[Path, ...]:
    return tuple(directory.glob("logs_*.sqlite"))


def _stop(found: tuple[Path, ...]) -> None:
    for database in found:
        try:
            # A database that has gone in the meantime is not made anew.
            uri = f"{database.absolute().as_uri()}?mode=rw"
            opened = sqlite3.connect(uri, timeout=LOCK_WAIT_S, uri=True)
            with contextlib.closing(opened), opened:
                opened.execute("PRAGMA synchronous=OFF")  # what is lost is wiped in any case
                opened.execute(_TRIGGER)
        except sqlite3.Error as error:
            _log.warning("codex_traces_grow", database=str(database), error=str(error))
