"""The filters of `turntape log` and `stats`: flags, and the query that they come to."""

import argparse
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from engine.log.find import catalog, query
from engine.log.summary import rows
from server.cli import printing
from server.cli.log import commands, terminal, values

FLAGS: Final = (
    ("since", "TIME", "there from then on: 14:05, 2026-01-31T14:05, or 10m before the newest"),
    ("until", "TIME", "there before then"),
    ("around", "TIME", "there about then, 5m to both sides, or --within"),
    ("within", "SPAN", "how far around (5m), or how long from --since on"),
    ("kind", "K", "how it ended: timeout, upstream_error, open, ...; several with commas"),
    ("code", "C", "its error code; upstream* for all that begin so"),
    ("status", "N", "its HTTP status: 502, or 5xx"),
    ("model", "M", "as the client wrote it, or as the worker was asked"),
    ("key", "NAME", "of the client's key"),
    ("worker", "W", "its name, or a process's id (wk_...)"),
    ("slow", "SPAN", "took that long or longer: 2s, 300ms"),
    ("gap", "SPAN", "was silent for that long"),
    ("text", "WORD", "in its request or answer; nothing is found in what is masked"),
)
"""Flags that are filters of the same name."""


class Selected:
    """The streams of a log that were asked for.

    Args:
        path: of the log.
        options: the flags.
        pick: which of them are shown, and in what order; all where it is not given.

    Attributes:
        catalog: all of them.
        rows: those that are asked for, in the order in which they ended, open ones last; or as
            they were picked. They are held against their records.
        zone: in which times are read and shown; None: this machine's.
        ids: of all streams of the log.
        query: what was asked for.

    Raises:
        QueryError: a filter cannot be read, or has a word that nobody knows.
        OSError: the log cannot be read.
    """

    def __init__(
        self,
        path: Path,
        options: argparse.Namespace,
        pick: Callable[[list[rows.Summary]], list[rows.Summary]] = list,
    ) -> None:
        self.zone = datetime.UTC if options.utc else None
        self.catalog = catalog.Catalog(path, terminal.Progress("reading the log"))
        if options.from_records:
            for number in self.catalog.files:
                self.catalog.doubt(number)
        decisive = self._choose(options, pick)
        while self.catalog.hold([*self.rows, *decisive]):
            decisive = self._choose(options, pick)

    def _choose(
        self,
        options: argparse.Namespace,
        pick: Callable[[list[rows.Summary]], list[rows.Summary]],
    ) -> list[rows.Summary]:
        """Choose rows, and return others that are to be held too: the newest of all, from which
        times are reckoned, and lives of processes as the log has them, where they are shown."""
        known = [*self.catalog.ended_rows(), *self.catalog.open_rows()]
        newest = sorted(known, key=lambda row: row.t)[-1:]
        moment = query.Moment(max((row.t for row in newest), default=0), self.zone)
        terms = _terms(options)
        self.query = query.of_terms(terms, moment)
        self.ids = [row.summary for row in known]
        shown = [*map(_as_shown, known)]
        values.refuse_unknown(terms, shown)
        asks_for_lives = any(
            each.name == "kind" and rows.LIFE in each.values for each in self.query.filters
        )
        self.rows = [
            row for row in shown if (asks_for_lives or not row.is_life) and self.query.matches(row)
        ]
        if self.query.texts and self.rows:
            self._search()
        self.rows = pick(self.rows)
        return [*newest, *(row for row in known if asks_for_lives and row.is_life)]

    def _search(self) -> None:
        """Leave only those whose texts have the words, and say what could not be searched."""
        from engine.log.find import texts

        progress = terminal.Progress("searching the texts")
        match = texts.search(self.catalog, self.rows, self.query.texts, progress)
        self.rows = [row for row in self.rows if row.summary in match.streams]
        if match.masked:
            count = len(match.masked)
            subject = "the texts of 1 stream are" if count == 1 else f"the texts of {count} are"
            printing.complain(f"{subject} masked: no word is found in them (PROXY_EVENT_LOG)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the log, and the filters."""
    commands.add_paths(parser)
    chosen = parser.add_argument_group("which streams")
    chosen.add_argument("--failed", action="store_true", help="all but completed and open ones")
    for name, metavar, meaning in FLAGS:
        chosen.add_argument(f"--{name}", action="append", metavar=metavar, help=meaning)
    chosen.add_argument(
        *("-q", "--query"),
        action="append",
        metavar="WORDS",
        help="the same as words: 'kind:timeout -key:ci slow:2s req_12'",
    )
    parser.add_argument(
        "--from-records",
        action="store_true",
        help="read all records, and not the summaries beside them: some seconds a GiB",
    )
    parser.add_argument("--utc", action="store_true", help="times of UTC; else this machine's")
    parser.add_argument("--json", action="store_true", help="JSON, for programs")


def _terms(options: argparse.Namespace) -> list[query.Term]:
    """The filters of the flags, as names and values."""
    terms: list[query.Term] = []
    for text in options.query or ():
        terms += query.terms(text)
    for name, _, _ in FLAGS:
        terms += [(name, value, f"--{name} {value}") for value in getattr(options, name) or ()]
    if options.failed:
        terms.append(("is", "failed", "--failed"))
    return terms


def _as_shown(row: rows.Summary) -> rows.Summary:
    """A process's row, of which the log has the last record, has the kind that is asked for."""
    if not row.is_life or row.kind == rows.LIFE:
        return row
    return msgspec.structs.replace(row, kind=rows.LIFE, code=row.kind)
