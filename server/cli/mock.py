"""`turntape mock`: recorded streams for the tests of other programs, with faults on demand."""

import argparse
import os
import tempfile
from pathlib import Path

from server import diagnostics, serve
from server.cli import faults
from server.config import load as configuration, settings
from server.http import exchange as http
from server.process import signals


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the command's flags; what is wrong with a fault's is said as for a setting."""
    command.add_argument("--port", default="11435", help="TCP port; 0: any free one (11435)")
    command.add_argument("--host", help="address; any but loopback needs PROXY_API_KEY")
    command.add_argument("--transcript", metavar="NAME", help="what answers every model")
    command.add_argument(
        "--transcripts", metavar="DIR", help="recorded streams: transcripts, or a server's log"
    )
    command.add_argument("--speed", help="times the recorded speed; 0: without pauses (0)")
    command.add_argument("--log-dir", type=Path, help="keep the event log of the mock there")
    asked = command.add_argument_group("faults of every request that names none itself")
    for option in faults.OPTIONS.values():
        if option.numbers:
            asked.add_argument(f"--{option.name}", metavar="N", help=option.meaning)
        else:
            asked.add_argument(f"--{option.name}", action="store_true", help=option.meaning)


def run(options: argparse.Namespace) -> int:
    """`turntape mock`: serve until stopped; its exit status.

    Raises:
        ConfigError: a flag cannot be used.
    """
    fault = _fault(options)

    def front(handler: http.Handler) -> http.Handler:
        return faults.Injector(handler, fault).handle

    with (
        signals.caught() as caught,
        tempfile.TemporaryDirectory(prefix="turntape-mock-") as directory,
    ):
        config = _config(options, directory)
        diagnostics.configure(config)
        return serve.run(config, caught, _announce, front)


_FLAGS = {
    "PROXY_LOG_DIR": "--log-dir",
    "PROXY_SCRIPTED_SPEED": "--speed",
    "PROXY_SCRIPTED_TRANSCRIPT": "--transcript",
    "PROXY_TRANSCRIPTS_DIR": "--transcripts",
}
"""The option of this command line for each setting that has one."""


def _config(options: argparse.Namespace, directory: str) -> settings.Config:
    flags = {"port": options.port, "host": options.host}
    try:
        return configuration.load(_settings(options, directory), flags)[0]
    except configuration.ConfigError as error:
        name = _FLAGS.get(error.name, error.name)
        raise configuration.ConfigError(name, error.problem) from None


def _settings(options: argparse.Namespace, directory: str) -> dict[str, str]:
    """Of the environment only the key: a mock is the same wherever it runs."""
    return {
        "PROXY_WORKER": "scripted",
        "PROXY_DATA_DIR": directory,
        "PROXY_EVENT_LOG": "full",
        "PROXY_LOG_DIR": str(options.log_dir or ""),
        "PROXY_LOG_LEVEL": "error",
        "PROXY_API_KEY": os.environ.get("PROXY_API_KEY", ""),
        "PROXY_TRANSCRIPTS_DIR": options.transcripts or "",
        "PROXY_SCRIPTED_TRANSCRIPT": options.transcript or "",
        "PROXY_SCRIPTED_SPEED": options.speed or "0",
        # What comes when is the recording's to say, and a fault's; who stops a mock waits for
        # none of its answers.
        "PROXY_SSE_KEEPALIVE_MS": "0",
        "PROXY_DRAIN_TIMEOUT_MS": "0",
    }


def _fault(options: argparse.Namespace) -> faults.Fault | None:
    given = ((name, getattr(options, name.replace("-", "_"))) for name in faults.OPTIONS)
    words = [(name, value) for name, value in given if value not in (None, False)]
    if not words:
        return None
    try:
        return faults.declare((name, None if value is True else value) for name, value in words)
    except faults.FaultRefused as refused:
        raise configuration.ConfigError(f"--{refused.name}", refused.problem) from None


def _announce(host: str, port: int) -> None:
    serve.announce(f"turntape mock on http://{host}:{port}/v1")
