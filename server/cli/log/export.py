"""`turntape export`: takes streams out of a log, into one file.

Contents are masked unless `--no-mask` is given: an export is made to be handed on, to an issue or
a colleague, and what was handed on cannot be taken back. A masked one replays all the same.
"""

import argparse
import importlib
import importlib.util
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from engine.log.derive import exporting
from engine.log.find import stories
from machines import events
from server.cli import printing
from server.cli.log import commands, outputs, selecting
from server.process import exits

LOG: Final = "log"
"""The format that is a log again."""

STDOUT: Final = "-"
"""In place of a file."""

FORMATS: Final = {
    "html": "server.ui.export",
    "har": "server.cli.log.formats.har",
    "perfetto": "server.cli.log.formats.perfetto",
    "otlp": "server.cli.log.formats.otlp",
    "curl": "server.cli.log.formats.curl",
    "parquet": "server.cli.log.formats.parquet",
    "sqlite": "server.cli.log.formats.sqlite",
}
"""The modules of all other formats: each a `Format`, imported when it is chosen."""


class Format(Protocol):
    """A module that writes streams in one format."""

    def write(self, found: Sequence[stories.Story], file: BinaryIO) -> None:
        """Write the streams, masked as they are to be."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("ids", nargs="+", metavar="ID", help="a stream: any of its ids")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="the file; - for stdout"
    )
    commands.add_path(parser)
    parser.add_argument(
        "--mask",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="mask texts (the default); --no-mask keeps them as the log has them",
    )
    parser.add_argument(
        "--format", choices=(LOG, *available()), default=LOG, help="of the file (log)"
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


def available() -> list[str]:
    """Return the formats that this installation has."""
    return [name for name, module in FORMATS.items() if _is_there(module)]


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it would be in
        return False


def run(options: argparse.Namespace) -> int:
    """`turntape export ID… -o FILE`.

    Raises:
        NotFound, Ambiguous: a name means no stream, or several.
        Unexportable: a stream is not whole, or cannot be masked.
        Unwritable: the file cannot be written.
    """
    problems = _problems(options.output, force=options.force)
    if problems:
        printing.complain(*problems)
        return exits.USAGE
    log = commands.path_of(options.log)
    found = selecting.select(log, options.ids)
    data = _content(found, log, options)
    selecting.warn_of_damage(found)
    _put(options.output, data)
    _report(found, options)
    return exits.CLEAN


def _problems(output: str, *, force: bool) -> tuple[str, ...]:
    """What is wrong with the file that is to be written, in sentences."""
    path = Path(output)
    if output == STDOUT:
        return ()
    if exporting.names_segment(path.name):
        return (
            f"{output}: a segment of a log is called so",
            "Name it otherwise, such as bad.jsonl: beside a log it would be taken for one.",
        )
    return outputs.in_the_way(path, force=force)


def _content(found: list[stories.Story], log: Path, options: argparse.Namespace) -> bytes:
    content: exporting.Content = "masked" if options.mask else "kept"
    now_us = time.time_ns() // 1000
    exported = b"".join(exporting.export(found, log, content, now_us))
    if options.format == LOG:
        return exported
    form: Format = importlib.import_module(FORMATS[options.format])
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "export.jsonl"
        file.write_bytes(exported)
        taken = [stories.story(file, story.stream) for story in found]
        with tempfile.TemporaryFile() as written:
            form.write(taken, written)
            written.seek(0)
            return written.read()


def _put(output: str, data: bytes) -> None:
    if output == STDOUT:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        outputs.write(Path(output), data)


def _report(found: list[stories.Story], options: argparse.Namespace) -> None:
    """Say what was written, and whether it may be handed on."""
    streams = printing.counted(len(found), "stream")
    records = printing.counted(sum(len(story.records) for story in found), "record")
    printing.complain(f"{options.output}: {streams}, {records}; {_kept(found, options)}")


def _kept(found: list[stories.Story], options: argparse.Namespace) -> str:
    """What became of the texts."""
    if options.mask:
        return "texts are masked"
    begun = (story.records[0].load() for story in found)
    masked = [each for each in begun if isinstance(each, events.Opened)]
    masked = [each for each in masked if each.content == "masked"]
    if len(masked) == len(found):
        return "texts are masked, for the log has no others"
    if masked:
        return f"texts are as the log has them, and of {len(masked)} it has them masked"
    return "texts are as the log has them"
