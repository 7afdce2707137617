"""`turntape serve`: the server, run until it is stopped."""

import argparse
import functools

from server import diagnostics, serve
from server.cli import configured
from server.process import signals
from server.version import VERSION


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the flags of all settings."""
    configured.add_arguments(command)


def run(options: argparse.Namespace) -> int:
    """Run the server, and return its exit status."""
    config = configured.load(options)
    diagnostics.configure(config)
    with signals.caught() as caught:
        reread = functools.partial(configured.read, options, is_again=True)
        return serve.run(config, caught, _announce, reread=reread)


def _announce(host: str, port: int) -> None:
    serve.announce(f"turntape {VERSION} on http://{host}:{port}/v1")
