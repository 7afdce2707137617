"""The command line: a parser of its arguments, and the one way every command is run.

What a command needs is imported once it is chosen (`server.cli.parser`), and so is what says why
one failed: an error's class is known by its name here.
"""

import io
import signal
import sys
from collections.abc import Sequence
from typing import Final

from server.cli import commands, parser as parsers, printing
from server.process import exits, signals
from server.version import VERSION

REFUSALS: Final = {
    "engine.codex.child.home.BinaryNotFound": exits.FAILED,
    "engine.codex.child.home.HomeTaken": exits.FAILED,
    "engine.log.derive.exporting.Unexportable": exits.FAILED,
    "engine.log.find.query.QueryError": exits.USAGE,
    "engine.log.write.lock.LogLocked": exits.FAILED,
    "engine.scripted.TranscriptError": exits.FAILED,
    "engine.store.store.StoreError": exits.FAILED,
    "server.assembly.ExtraMissing": exits.FAILED,
    "server.cli.log.outputs.Unwritable": exits.FAILED,
    "server.cli.log.selecting.AllDamaged": exits.USAGE,
    "server.cli.log.selecting.WrittenLater": exits.FAILED,
    "server.config.keys_file.KeysFileError": exits.USAGE,
    "server.config.load.ConfigError": exits.USAGE,
}
"""Errors that say why a command cannot do what it was asked for: their text is for the operator,
and so are their notes, a sentence each."""

LOOKUPS: Final = ("engine.log.find.names.Ambiguous", "engine.log.find.names.NotFound")
"""Errors of a name that leads to no stream of a log, or to several."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; why it failed is one line on stderr."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that is not of UTF-8 gets escapes
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=printing.ERRORS)
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has enough
        status = signals.status_of(signal.SIGPIPE)
    except Exception as error:
        status = _failed(error)
    if "server.diagnostics" in sys.modules:
        from server import diagnostics

        diagnostics.flush()
    return status


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = make_parser().parse(arguments)
    except SystemExit as left:  # argparse has printed what there was to print
        return exits.USAGE if left.code else exits.CLEAN
    from machines import parse

    parse.allow_depth()
    if not options.is_quiet:
        from server import diagnostics

        diagnostics.begin()
    status: int = options.run(options)
    return status


def _failed(error: Exception) -> int:
    """Say why a command failed, and return its exit status."""
    names = [f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__]
    if any(name in LOOKUPS for name in names):
        from server.cli.log import lookups

        printing.complain(*lookups.lines(error))
        return exits.NOT_FOUND
    statuses = [REFUSALS[name] for name in names if name in REFUSALS]
    if statuses:
        printing.complain(str(error), *getattr(error, "__notes__", ()))
        return statuses[0]
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        printing.complain(f"{error.filename}: {reason}" if error.filename else reason)
        return exits.FAILED
    from engine import containment
    from server import diagnostics

    diagnostics.begin()
    containment.report(containment.Boundary.COMMAND, error)
    return exits.FAILED


def make_parser() -> parsers.Parser:
    """Return the parser; each command's arguments are declared when it is chosen."""
    parser = parsers.Parser(
        prog="turntape",
        description="An OpenAI-compatible server in front of Codex. Every stream is logged, "
        "and every log replays.",
    )
    parser.add_argument("--version", action="version", version=f"turntape {VERSION}")
    below = parser.add_subparsers(required=True, metavar="COMMAND")
    parsers.declare(below, commands.COMMANDS)
    return parser
