"""The commands that read a log, by name, and how they are told which log."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from server.cli.parser import Command

if TYPE_CHECKING:
    from server.config import settings

COMMANDS: Final = (
    Command(
        "log",
        "server.cli.log.listing",
        "list a log's streams: failures, a time, a model",
        is_quiet=True,
    ),
    Command(
        "stats",
        "server.cli.log.stats",
        "count a log's streams: endings, TTFT, gaps",
        is_quiet=True,
    ),
    Command(
        "show",
        "server.cli.log.show",
        "say what happened to one stream, and why",
        is_quiet=True,
    ),
    Command(
        "diff",
        "server.cli.log.diff",
        "compare a bad stream with a good one",
        is_quiet=True,
    ),
    Command("play", "server.cli.log.play", "play a stream's bytes at their recorded speed"),
    Command("export", "server.cli.log.export", "take streams out of a log, into a file"),
    Command("test", "server.cli.log.testcase", "make a test of a stream"),
    Command("check", "server.cli.log.check", "run a log through today's code and compare"),
    Command("purge", "server.cli.log.purge", "erase streams from a log"),
    Command("ui", "server.cli.log.ui", "show a log in the browser"),
)
"""All of them, in the order in which help lists them."""


def add_path(parser: argparse.ArgumentParser) -> None:
    """Declare `--log`: which log is meant."""
    parser.add_argument(
        "--log",
        type=Path,
        metavar="PATH",
        help="a log's directory, or one file of records; the configured one",
    )


def add_paths(parser: argparse.ArgumentParser) -> None:
    """Declare both ways to say which log is meant: `PATH`, and `--log` as all others have it."""
    parser.add_argument(
        "path",
        nargs="?",
        type=Path,
        metavar="PATH",
        help="a log's directory, or one file; the configured one",
    )
    parser.add_argument("--log", type=Path, metavar="PATH", help="the same as PATH alone")


def path_of(*given: Path | None) -> Path:
    """Return the log that is meant: the first that is named, else that of the settings.

    Raises:
        ConfigError: none is named, and the settings cannot be read.
    """
    named = next((each for each in given if each is not None), None)
    return configured().log_dir if named is None else named


def configured() -> "settings.Config":
    """Return the settings of the server here.

    Raises:
        ConfigError: they cannot be read.
    """
    from server.config import load as configuration  # most often the path is given

    return configuration.load(os.environ)[0]
