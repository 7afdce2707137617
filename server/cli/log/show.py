"""`turntape show ID`: what happened to one stream, and why."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from engine.log.find import names, stories
from server.cli.log import commands, picture, processes, selecting, terminal
from server.process import exits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it is asked for with."""
    commands.add_path(parser)
    parser.add_argument(
        "id",
        metavar="ID",
        help="of the stream, its request, its answer or a worker's process; or a beginning",
    )
    views = parser.add_mutually_exclusive_group()
    views.add_argument("--all", action="store_true", help="every record, a line each")
    views.add_argument("--client", action="store_true", help="the client's bytes, and when")
    views.add_argument("--worker", action="store_true", help="what the worker said and was asked")
    views.add_argument("--json", action="store_true", help="the timeline as one JSON object")
    views.add_argument(
        "--diagnostics",
        type=Path,
        metavar="FILE",
        help="stitch in the server's lines about it: JSON lines, or what journalctl prints; -"
        " reads stdin",
    )
    parser.add_argument("--utc", action="store_true", help="times in UTC instead of local ones")


def run(options: argparse.Namespace) -> int:
    """Show the stream.

    Raises:
        NotFound, Ambiguous: its name leads to none, or to several.
        WrittenLater, AllDamaged: nothing of it can be read.
        OSError: the log, or the file of diagnostics, cannot be read.
    """
    path = commands.path_of(options.log)
    try:
        story = selecting.read(path, options.id)
    except names.Gone as error:
        if not options.json:
            raise
        from server.cli.log import listing  # it loads for longer than this is looked for

        # A program is told what is left: that of a purged stream says so.
        sys.stdout.write(msgspec.json.encode(listing.as_json(error.row)).decode() + "\n")
        return exits.NOT_FOUND
    if options.json:
        told = processes.told(path, story)
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
    else:
        drawn = picture.laid(_view(story, options, path), terminal.width())
        terminal.show([terminal.Piece(each.text, STYLES[each.style])] for each in drawn)
    hurt = (each for each in story.problems if each.kind == "corrupt")
    return exits.USAGE if next(hurt, None) is not None else exits.CLEAN


def _view(story: stories.Story, options: argparse.Namespace, path: Path) -> Iterable[picture.Line]:
    """Return the lines that are asked for. What a view needs is imported for it: renderers load
    as long as everything else together."""
    if options.diagnostics is not None:
        from server.cli.log import stitching

        return stitching.lines(story, options.diagnostics, is_utc=options.utc)
    if options.client or options.worker or options.all:
        from server.cli.log import sides

        side = sides.client if options.client else sides.worker if options.worker else sides.every
        return side(story)
    return picture.lines(processes.told(path, story), is_utc=options.utc)


STYLES: Final = {
    "head": "bold",
    "bad": "bold red",
    "good": "bold green",
    "gap": "yellow",
    "faint": "dim",
    "plain": "",
}
"""The styles of the lines of a picture."""
