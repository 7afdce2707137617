"""Says why a name led to no stream of a log, or to several."""

import datetime
from pathlib import Path
from typing import Final

from engine.log.cold import files
from engine.log.find import catalog, names
from engine.log.read import segments
from engine.log.summary import rows

SHOWN_MOST: Final = 10
"""Streams of one name that are listed."""


def lines(error: Exception) -> list[str]:
    """Return what is to be said of an error of a name."""
    match error:
        case names.Gone(row=row):
            what = f"{time_of(row.t)}: {row.kind}{_code(row)}"
            if row.purged:
                return [
                    f"{row.summary} was purged: its records were erased {time_of(row.purged)}",
                    f"what is left are figures of how it ended, {what}",
                ]
            return [
                f"the records of {row.summary}, {what}, were deleted with their segment",
                "How long they are kept is set by PROXY_LOG_MAX_AGE_S and what stands beside it.",
            ]
        case names.NotFound():
            near = [f"Close to it: {', '.join(error.near)}."] if error.near else []
            name = error.name or "''"
            return [f"nothing is called {name}", covered(error.covered), *near]
        case names.Ambiguous():
            shown = [_line(row) for row in error.found[:SHOWN_MOST]]
            more = len(error.found) - len(shown)
            rest = [f"  and {more} more"] if more > 0 else []
            count = len(error.found)
            return [f"{error.name} is {count} streams; name one by its own id:", *shown, *rest]
    raise AssertionError(error)


def nothing_in(path: Path, span: names.Covered) -> list[str]:
    """Return what is to be said of a log that has none of the streams that are asked for."""
    if span.first_us is None:
        if path.is_dir() and not files.list_segments(path) and not any(path.glob("*.jsonl")):
            return [f"{path}: there is no log in it"]
        if _is_damaged(path):
            return [f"{path}: no stream can be read in it; `turntape check` says what is damaged"]
        what = "the log holds no streams" if path.is_dir() else "no stream is in this file"
        return [f"{path}: {what}"]
    return [f"{path}: no stream is like that", covered(span)]


def _is_damaged(path: Path) -> bool:
    """Return whether there is something in a log, or a file of records, that cannot be read."""
    for each in catalog.Catalog(path).files.values():
        reading = segments.read(each.path)
        for _ in reading:
            pass
        if reading.problems:
            return True
    return False


def covered(span: names.Covered) -> str:
    """Return a sentence about the time that a log holds streams of."""
    if span.first_us is None or span.last_us is None:
        return "The log holds no streams."
    return f"The log covers {time_of(span.first_us)} to {time_of(span.last_us)}."


def time_of(microseconds: int, zone: datetime.tzinfo | None = None) -> str:
    """Return a time with its day and its zone, this machine's unless another is given."""
    moment = datetime.datetime.fromtimestamp(microseconds / 1e6, datetime.UTC).astimezone(zone)
    return moment.strftime("%Y-%m-%d %H:%M:%S %Z")


def _code(row: rows.Summary) -> str:
    return f" ({row.code})" if row.code else ""


def _line(row: rows.Summary) -> str:
    began = time_of(row.began_us)
    return f"  {row.summary}  {began}  {row.kind}{_code(row)}  request {row.request_id}"
