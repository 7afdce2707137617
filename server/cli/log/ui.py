"""`turntape ui`: a log in the browser, until it is stopped."""

import argparse
import os
import sys
import threading
import webbrowser

from server import serve
from server.cli import parser as parsers, printing
from server.cli.log import commands, terminal
from server.process import exits
from server.ui import serving as uiserving, view


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    commands.add_paths(parser)
    parser.add_argument(
        "--port",
        type=parsers.whole(0, parsers.PORT_MOST),
        default=0,
        metavar="N",
        help="port of 127.0.0.1; 0: any free one (0)",
    )
    parser.add_argument("--no-open", action="store_true", help="only print the link")


def run(options: argparse.Namespace) -> int:
    """`turntape ui`: serve until stopped; its exit status, 3 where there is no log.

    Raises:
        ConfigError: the configured log is meant and is not known.
        OSError: there is nothing at its path, it cannot be read, or the address cannot be had.
    """
    path = commands.path_of(options.path, options.log)
    path.stat()
    log = view.View(path)
    # Who follows the link is to find a log: what is none, or cannot be read, is said here.
    if not log.begin(terminal.Progress("reading the log")):
        printing.complain(f"{path}: there are no streams, and it is no log's directory")
        return exits.NOT_FOUND

    def announce(url: str) -> None:
        serve.announce(f"turntape ui on {url}")
        if not options.no_open and _has_desktop():
            # A browser may take seconds to come, and its starter may wait for it.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    return uiserving.run(log, options.port, announce)


def _has_desktop() -> bool:
    """Whether there is somebody before a screen of this machine: not over ssh, nor in a container
    or a service."""
    if sys.platform == "darwin":
        return "SSH_CONNECTION" not in os.environ
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
