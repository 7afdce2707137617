"""The program around the command line: its standard descriptors, its signals, its end."""

import gc
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NoReturn

from server.process import signals

ELSEWHERE = {
    "win32": "Turntape runs on Linux and macOS. On Windows, run it in WSL 2 or a container.",
}
"""Systems that lack what the program is built on (`fcntl`, SIGHUP, uvloop), by `sys.platform`,
and what a start says there."""


def run() -> "NoReturn":
    """Run the command line and end the process with its status."""
    if sys.platform in ELSEWHERE:
        sys.exit(f"turntape: {ELSEWHERE[sys.platform]}")
    signals.install()
    _open_descriptors()
    if sys.argv[1:2] == ["health"]:
        _check_health(sys.argv[2:])
    # What follows takes a fifth of a second, and a signal may come meanwhile.
    # A collection finds next to nothing in modules that are being loaded, nor in those that are
    # loaded; without it a start takes a twentieth less.
    gc.disable()
    from server.cli import command_line as cli

    gc.freeze()
    gc.enable()
    _end(cli.main())


def _check_health(arguments: list[str]) -> None:
    """Run `turntape health` before anything is loaded; return where the parser is needed."""
    from server.cli import health  # any other command needs the settings anyway

    status = health.quick(arguments)
    if status is not None:
        _end(status)


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
