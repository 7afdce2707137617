"""Writes logs record by record, for tests that want to say what is in them."""

import collections
from pathlib import Path
from typing import Any

import msgspec

from engine.log.format import sealed

Record = dict[str, Any]
"""A record without what `lines` adds; `stream` and `t` may be left out."""

STEP_US = 1000
"""Microseconds between two records that do not say when they were."""


def lines(*records: Record) -> bytes:
    """Sealed records of one segment, numbered as a writer would."""
    seqs: collections.Counter[str] = collections.Counter()
    found = []
    for seg, record in enumerate(records):
        stream = record.get("stream", "st_1")
        head = {"stream": stream, "seq": seqs[stream], "seg": seg, "t": seg * STEP_US}
        seqs[stream] += 1
        found.append(sealed.seal(msgspec.json.encode(head | record)[:-1]))
    return b"".join(found)


def write(path: Path, *records: Record) -> Path:
    """A file with these records."""
    path.write_bytes(lines(*records))
    return path
