"""The command line: `turntape serve | mock | demo | replay | inspect | config | login`."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from engine import containment, scripted
from engine.codex.child import home as codexhome
from engine.log.write import lock as writerlock
from engine.store import store as responsestore
from machines import parse
from server import assembly, diagnostics, serve
from server.chat import request as chatbodies
from server.cli import demo, login, mock, printing, readback
from server.config import load as configuration, settings
from server.process import exits, signals
from server.version import VERSION

REFUSALS = (
    assembly.ExtraMissing,
    codexhome.BinaryNotFound,
    codexhome.HomeTaken,
    scripted.TranscriptError,
    responsestore.StoreError,
    writerlock.LogLocked,
)
"""Why a command cannot do what it was asked for: their text is for the operator."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; why it failed is one line on stderr."""
    diagnostics.begin()
    parse.allow_depth()
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except configuration.ConfigError as error:
        status = _complain(str(error), exits.USAGE)
    except REFUSALS as error:
        status = _complain(str(error))
    except BrokenPipeError:  # whoever read has enough
        status = signals.status_of(signal.SIGPIPE)
    except OSError as error:
        reason = error.strerror or str(error)
        status = _complain(f"{error.filename}: {reason}" if error.filename else reason)
    except Exception as error:
        containment.report(containment.Boundary.COMMAND, error)
        status = exits.FAILED
    diagnostics.flush()
    return status


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as left:  # argparse has printed what there was to print
        return exits.USAGE if left.code else exits.CLEAN
    status: int = options.run(options)
    return status


def load_config(options: argparse.Namespace) -> settings.Config:
    """The configuration of a run; warnings are for people, like reasons."""
    flags = {
        item.field: getattr(options, item.field, None)
        for item in settings.SETTINGS
        if item.setting.flag is not None
    }
    config, warnings = configuration.load(
        os.environ, flags, options.env_file, chatbodies.default_problem
    )
    for warning in warnings:
        printing.complain(f"warning: {warning}")
    return config


def serve_command(options: argparse.Namespace) -> int:
    """`turntape serve`."""
    config = load_config(options)
    diagnostics.configure(config)
    with signals.caught() as caught:
        return serve.run(config, caught, _announce)


def _announce(host: str, port: int) -> None:
    serve.announce(f"turntape {VERSION} on http://{host}:{port}/v1")


def config_command(options: argparse.Namespace) -> int:
    """`turntape config`."""
    rows = configuration.describe(load_config(options))
    width = max(len(row.name) for row in rows)
    for row in rows:
        printing.say(f"{row.name:<{width}}  {row.value}  ({row.source})  {row.meaning}")
    return 0


def demo_command(options: argparse.Namespace) -> int:
    """`turntape demo`."""
    return demo.run(options.port, options.once)


def login_command(options: argparse.Namespace) -> int:
    """`turntape login`."""
    config = load_config(options)
    if "log_level" not in config.sources:  # of what passes by while it waits nobody asked
        config = msgspec.structs.replace(config, log_level="warning")
    diagnostics.configure(config)
    return login.run(config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="turntape",
        description="An OpenAI-compatible server in front of Codex. Every stream is logged, "
        "and every log replays.",
    )
    parser.add_argument("--version", action="version", version=f"turntape {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serving = commands.add_parser("serve", help="run the server; the worker is Codex by default")
    serving.set_defaults(run=serve_command)
    showing = commands.add_parser("config", help="show every setting, its value and its source")
    showing.set_defaults(run=config_command)
    logging_in = commands.add_parser("login", help="log the server's Codex in with ChatGPT")
    logging_in.set_defaults(run=login_command)
    for command in (serving, showing, logging_in):
        _add_settings(command)
    demo = commands.add_parser("demo", help="serve recorded streams, try one, replay it")
    demo.add_argument("--port", default="11435", help="TCP port; 0: any free one (11435)")
    demo.add_argument("--once", action="store_true", help="stop after the trial request")
    demo.set_defaults(run=demo_command)
    mocking = commands.add_parser("mock", help="an upstream for tests, with faults on demand")
    mock.add_arguments(mocking)
    mocking.set_defaults(run=mock.run)
    replaying = commands.add_parser("replay", help="run a log through today's code and compare")
    replaying.set_defaults(run=readback.replay_command)
    inspecting = commands.add_parser("inspect", help="list a log's streams, or print one")
    inspecting.set_defaults(run=readback.inspect_command)
    for command in (replaying, inspecting):
        command.add_argument("path", type=Path, help="a log's directory, or one file of it")
        command.add_argument("--request", metavar="ID", help="one request or stream")
    return parser


def _add_settings(command: argparse.ArgumentParser) -> None:
    for item in settings.SETTINGS:
        if item.setting.flag is not None:
            command.add_argument(
                item.setting.flag,
                dest=item.field,
                help=f"{item.setting.meaning} ({item.setting.name})",
            )
    command.add_argument("--env-file", type=Path, help="file of NAME=value lines")


def _complain(text: str, status: int = exits.FAILED) -> int:
    printing.complain(text)
    return status
