"""The program around the command line: its standard descriptors, its signals, its end."""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NoReturn

from server.process import signals


def run() -> "NoReturn":
    """Run the command line and end the process with its status."""
    signals.install()
    _open_descriptors()
    # What follows takes a fifth of a second, and a signal may come meanwhile.
    from server.cli import command_line as cli

    _end(cli.main())


def _open_descriptors() -> None:
    """Have the three standard descriptors lead somewhere.

    A file that is opened takes the lowest free number. Where one of these was closed (`2>&-`) the
    event log would be standard error, and get whatever a library or a child writes there.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def _end(status: int) -> "NoReturn":
    """End the process without the interpreter's own end.

    That waits for every thread, also for one that a dead disk or name server holds for ever, and
    puts the signals' usual actions back in force before it is done.
    """
    os._exit(status)
