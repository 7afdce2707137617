"""`turntape test`: makes a test of a stream, and runs it.

The test holds today's code to what the log has: the steps, and where contents were kept the bytes.
Expected bytes are written only where their hash is the recorded one, so they are never what
today's code happens to make.
"""

import argparse
import re
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from engine import regular
from engine.log import replay
from engine.log.derive import bodies, exporting
from engine.log.find import stories
from engine.log.read import segments
from machines import events
from server import renderers
from server.cli import divergence, printing
from server.cli.log import commands, selecting
from server.process import exits

SUFFIXES: Final = (".sse", ".json")
"""Files of expected bytes: of a body that came in pieces, and of one that was whole."""

_TEST: Final = '''\
"""Stream {stream}, as its log has it: it ended as `{kind}`.

{how}
"""

from pathlib import Path

import turntape.testing


def test_{name}() -> None:
    turntape.testing.replay(Path(__file__).with_name("{name}.jsonl"))
'''


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("id", nargs="?", metavar="ID", help="a stream: any of its ids")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="where the files go")
    commands.add_path(parser)
    parser.add_argument("--name", help="of the test; that of the stream")
    parser.add_argument("--mask", action="store_true", help="mask texts: steps are compared")
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    parser.add_argument(
        "--run",
        dest="transcript",
        type=Path,
        metavar="FILE",
        help="run the test of this transcript, NAME.jsonl",
    )


def run(options: argparse.Namespace) -> int:
    """`turntape test ID -o DIR`, and `turntape test --run FILE`."""
    if options.transcript is not None and options.id is None:
        return _run_case(options.transcript)
    if options.transcript is not None or options.id is None or options.output is None:
        printing.complain("name a stream and a directory: ID -o DIR; or a test: --run FILE")
        return exits.USAGE
    log = commands.path_of(options.log)
    try:
        (story,) = selecting.select(log, [options.id])
        content: exporting.Content = "masked" if options.mask else "kept"
        lines = exporting.export([story], log, content, time.time_ns() // 1000)
    except exporting.Unexportable as error:
        printing.complain(str(error))
        return exits.FAILED
    selecting.warn_of_damage([story])
    if story.records[0].event != "opened" or story.records[-1].event != "terminal":
        printing.complain(f"{story.stream}: is no stream that came to its end")
        return exits.FAILED
    return _write(story, b"".join(lines), options)


def _write(story: stories.Story, transcript: bytes, options: argparse.Namespace) -> int:
    name = options.name or re.sub(r"\W", "_", story.stream, flags=re.ASCII)
    if not re.fullmatch(r"\w+", name, re.ASCII):
        printing.complain(f"--name {name}: takes letters, digits and _")
        return exits.USAGE
    body = bodies.body(story.records, renderers.reply)
    masked = options.mask or body.is_recorded is None
    expected = _suffix(story) if not masked and body.is_recorded else None
    files = {f"{name}.jsonl": transcript}
    if expected is not None:
        files[f"{name}{expected}"] = body.data
    how = _how(name, expected, len(body.data), masked=masked)
    files[f"test_{name}.py"] = _source(story, name, how).encode()
    there = [options.output / each for each in files if (options.output / each).exists()]
    if there and not options.force:
        printing.complain(f"{there[0]}: exists; --force replaces it")
        return exits.USAGE
    options.output.mkdir(parents=True, exist_ok=True)
    for suffix in SUFFIXES:  # of a test that had other ones
        (options.output / f"{name}{suffix}").unlink(missing_ok=True)
    for each, data in files.items():
        regular.replace(options.output / each, data)
    printing.say(*(str(options.output / each) for each in files), how)
    return exits.CLEAN


def _suffix(story: stories.Story) -> str:
    """Which file the expected bytes of a stream go to."""
    opened = story.records[0].load()
    assert isinstance(opened, events.Opened), "a stream has a beginning"
    return SUFFIXES[0] if opened.streaming else SUFFIXES[1]


def _how(name: str, expected: str | None, size: int, *, masked: bool) -> str:
    """What the test compares, and where that was taken from."""
    if masked:
        return "Its texts are masked, or their hash was not kept: steps are compared, not bytes."
    if expected is None:
        return (
            "Today's code makes other bytes than were recorded, so none are written down: steps"
            " are compared, and the bytes with the hash that was recorded."
        )
    return (
        f"Steps are compared, and the bytes with the {size} in {name}{expected}, whose hash is"
        " the recorded one."
    )


def _source(story: stories.Story, name: str, how: str) -> str:
    last = story.records[-1].load()
    kind = last.kind if isinstance(last, events.Terminal) else "open"
    stream = re.sub(r"[^\w.-]", "_", story.stream, flags=re.ASCII)
    return _TEST.format(stream=stream, kind=kind, name=name, how=textwrap.fill(how, 99))


def _run_case(path: Path) -> int:
    """Compare a transcript with what today's code makes of it."""
    reading = segments.read(path)
    case = replay.Replay(renderers.reply)
    case.run(reading)
    if reading.problems:
        printing.say_each(map(str, reading.problems))
        return exits.USAGE
    if case.divergence is not None:
        printing.say_each(divergence.lines(case.divergence))
    elif not case.tally.compared:
        printing.say(f"{path}: no finished stream")
        return exits.FAILED
    records = list(segments.read(path))
    differs = list(_differences(path, records))
    printing.say_each(differs)
    if case.divergence is not None or differs:
        return exits.FAILED
    bytes_too = "the same bytes" if case.tally.full else "texts are masked: bytes not compared"
    printing.say(f"{case.tally.records} records: the same steps, {bytes_too}")
    return exits.CLEAN


def _differences(path: Path, records: list[segments.Record]) -> Iterator[str]:
    """Where today's bytes are others than the expected ones, if those were written down."""
    for suffix in SUFFIXES:
        file = path.with_suffix(suffix)
        if not file.exists():
            continue
        wanted, made = file.read_bytes(), bodies.body(records, renderers.reply)
        if made.failure:
            yield f"{file.name}: the answer breaks off: {made.failure}"
        if made.data != wanted:
            yield from _difference(file.name, wanted, made.data)


def _difference(name: str, wanted: bytes, made: bytes) -> Iterator[str]:
    pairs = zip(wanted, made, strict=False)
    same = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(wanted), len(made)))
    start = wanted.rfind(b"\n", 0, same) + 1
    yield f"{name}: {len(made)} bytes where {len(wanted)} were recorded; they part at byte {same}:"
    for what, data in (("recorded", wanted), ("today", made)):
        line = data[start:].partition(b"\n")[0][:200]
        yield f"  {what:<8}  {line.decode(errors='replace')}"
