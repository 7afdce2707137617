"""A SQLite database with two tables: `streams` and `records`."""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import BinaryIO

import msgspec

from engine.log.find import stories
from server.cli.log.formats import tables


def write(found: Sequence[stories.Story], file: BinaryIO) -> None:
    """Write streams as one database."""
    with closing(sqlite3.connect(":memory:")) as database:
        _fill(database, "streams", tables.StreamRow, tables.streams(found))
        _fill(database, "records", tables.RecordRow, tables.records(found))
        database.execute("CREATE INDEX of_stream ON records (stream, seq)")
        database.commit()
        file.write(database.serialize())


def _fill(
    database: sqlite3.Connection,
    table: str,
    row: type[msgspec.Struct],
    made: Iterable[msgspec.Struct],
) -> None:
    """Make a table; its name and those of its columns are ours, never somebody else's."""
    columns = tables.columns(row)
    declared = ", ".join(
        f"{name} {'INTEGER' if kind is int else 'TEXT'}" for name, kind in columns
    )
    database.execute(f"CREATE TABLE {table} ({declared}) STRICT")
    places = ", ".join("?" * len(columns))
    insert = f"INSERT INTO {table} VALUES ({places})"  # noqa: S608 - see above
    database.executemany(insert, map(tables.values, made))
