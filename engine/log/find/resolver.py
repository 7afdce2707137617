"""Says which stream of a log a name means."""

import contextlib
import itertools
from typing import Final

import msgspec

from engine.log.find import catalog, names
from engine.log.summary import rows, scan
from machines import parse

FOUND_MOST: Final = 1000
"""Streams that a name is said to be of: to look at all that begin with one letter takes long."""

OWN_PREFIXES: Final = ("st_", "rj_", rows.LIFE_PREFIX)
"""How ids begin that are made here and stand in every record."""


def resolve(found: catalog.Catalog, name: str) -> rows.Summary:
    """Return the row of the stream that a name means.

    Raises:
        NotFound: no stream has it.
        Ambiguous: several have.
        OSError: the log cannot be read.
    """
    rows_of_it = having(found, name)
    if not rows_of_it and _doubts_for(found, name):
        rows_of_it = having(found, name)
    if not rows_of_it:
        covered = found.covered()
        known = (*found.ended_rows(), *found.open_rows())
        ids = (each for row in known for each in catalog.ids_of(row))
        raise names.NotFound(name, covered, names.near(name, ids))
    if len(rows_of_it) > 1:
        raise names.Ambiguous(name, tuple(rows_of_it))
    return rows_of_it[0]


def having(found: catalog.Catalog, name: str) -> list[rows.Summary]:
    """Return the rows of all streams that a name means, newest first: those that have it, or if
    there are none, those with an id that begins so."""
    rows_of_it = _having(found, name)
    if not rows_of_it and found.verify():
        rows_of_it = _having(found, name)
    if not rows_of_it and name.startswith(OWN_PREFIXES):
        rows_of_it = _in_records(found, name)
    return sorted(rows_of_it, key=lambda row: row.t, reverse=True)


def _having(found: catalog.Catalog, name: str) -> list[rows.Summary]:
    """Search the rows, and doubt a sidecar that says something else than the records."""
    if not name:
        return []
    name = name[: rows.NAME_CHARACTERS]
    text = b'"' + msgspec.json.encode(name)[1:-1]
    exact: dict[str, rows.Summary] = {}
    beginning: dict[str, rows.Summary] = {}
    own: dict[str, rows.Summary] = {}
    for row in found.with_text(text):
        ids = catalog.ids_of(row)
        if name.startswith(OWN_PREFIXES) and row.summary.startswith(name):
            own[row.summary] = row
        if any(each.startswith(name) for each in ids) and len(beginning) < FOUND_MOST:
            beginning[row.summary] = row
        if name in ids:
            exact[row.summary] = row
    # An id that was made here counts before what a client chose: that may be another's.
    mine = {name: own[name]} if name in own else dict(itertools.islice(own.items(), FOUND_MOST))
    rows_of_it = [*(mine or exact or beginning).values()]
    return _having(found, name) if found.hold(rows_of_it) else rows_of_it


def _doubts_for(found: catalog.Catalog, name: str) -> bool:
    """Doubt the sidecars of the segments that have records of an id which no row has: a row was
    left out, and nobody but the records knows. All of them are searched, which takes a second a
    GiB, and only whoever asks for what is not there waits for it."""
    if not found.is_log or not name.startswith(OWN_PREFIXES):
        return False
    start = b'{"stream":"' + msgspec.json.encode(name)[1:-1]
    left_out = []
    for number in found.files.keys() - found.doubted:
        with contextlib.suppress(FileNotFoundError):  # retention was faster
            left_out += [number for _ in scan.starting(found.files[number].path, start)][:1]
    for number in left_out:
        found.doubt(number)
    return bool(left_out)


def _in_records(found: catalog.Catalog, name: str) -> list[rows.Summary]:
    """Search the records for streams that have neither a first record nor a last one: a process
    that lives, and what a file begins and ends within."""
    if not name.startswith(rows.LIFE_PREFIX) and found.is_log:
        return []
    start = b'{"stream":"' + msgspec.json.encode(name)[1:-1]
    made: dict[str, rows.Summary] = {}
    for number, segment in sorted(found.files.items()):
        for offset, line in scan.starting(segment.path, start):
            with contextlib.suppress(parse.ParseError):
                row = rows.passing((number, offset), line)
                made[row.summary] = row
    return [*made.values()]
