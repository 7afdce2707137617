"""The part of a header that says where a file's records were taken from: an export.

An export is one file, away from its log: nothing beside it says what it should hold. It is written
in one go, so its header can say that itself.
"""

from typing import Literal

import msgspec

Content = Literal["masked", "kept"]
"""The contents of an export: masked, or as the log has them."""


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """A segment that records of an export were taken from, as its log knew it.

    Attributes:
        segment: its number; 0 where a file that is no segment was read.
        records: its lines without the header, as the chain says; null where the log's chain does
            not say it yet.
        bytes: likewise, all of it.
        crc32: likewise, of all its bytes, 8 hexadecimal digits.
        entry: checksum of the line of the chain that says so.
    """

    segment: int
    records: int | None = None
    bytes: int | None = None
    crc32: str | None = None
    entry: str | None = None


class Export(msgspec.Struct, frozen=True, omit_defaults=True):
    """The content of an export, and where it was taken from.

    Attributes:
        records: the lines behind the header.
        bytes: of them.
        crc32: of all their bytes, 8 hexadecimal digits.
        content: `masked` where the export masked its streams; `kept` where they are as the log
            has them.
        sources: the segments that the records are of, oldest first.
    """

    records: int
    bytes: int
    crc32: str
    content: Content
    sources: tuple[Source, ...] = ()
