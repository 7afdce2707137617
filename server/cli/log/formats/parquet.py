"""Parquet: a row a record, with what is known of its stream beside it.

Of all formats this is the one that takes a library of 40 MiB, so it is an extra, `parquet`.
"""

from collections.abc import Sequence
from typing import BinaryIO

from engine.log.find import stories
from server.cli.log.formats import tables
from server.config import load as configuration


def write(found: Sequence[stories.Story], file: BinaryIO) -> None:
    """Write streams as one table.

    Raises:
        ConfigError: the extra is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        problem = "it needs the extra `parquet`: pip install 'turntape[parquet]'"
        raise configuration.ConfigError("--format parquet", problem) from None
    of_stream = {row.stream: tables.values(row) for row in tables.streams(found)}
    kinds = {int: pyarrow.int64(), str: pyarrow.string()}
    own = tables.columns(tables.RecordRow)
    beside = tables.columns(tables.StreamRow)[1:]  # the first is the stream itself
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in (*own, *beside)])
    rows = [(*tables.values(row), *of_stream[row.stream][1:]) for row in tables.records(found)]
    by_column = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    arrays = [
        pyarrow.array(column, kind) for column, kind in zip(by_column, schema.types, strict=True)
    ]
    parquet.write_table(pyarrow.Table.from_arrays(arrays, schema=schema), file)
