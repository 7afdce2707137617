"""The command line: a parser of its arguments, and the one way every command is run."""

import argparse
import functools
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
from server.cli import (
    configcheck,
    demo,
    health,
    keys,
    login,
    mock,
    parser as parsers,
    printing,
    readback,
    smoke,
)
from server.config import keys_file, load as configuration, settings
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
    except (configuration.ConfigError, keys_file.KeysFileError) as error:
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
        options = _parser().parse(arguments)
    except SystemExit as left:  # argparse has printed what there was to print
        return exits.USAGE if left.code else exits.CLEAN
    status: int = options.run(options)
    return status


def load_config(options: argparse.Namespace) -> settings.Config:
    """The configuration of a run; warnings are for people, like reasons."""
    config, warnings = _read_config(options)
    for warning in warnings:
        printing.complain(f"warning: {warning}")
    return config


def _read_config(
    options: argparse.Namespace, *, is_again: bool = False
) -> tuple[settings.Config, list[str]]:
    flags = {
        item.field: getattr(options, item.field, None)
        for item in settings.SETTINGS
        if item.setting.flag is not None
    }
    return configuration.load(
        os.environ, flags, options.env_file, chatbodies.default_problem, is_again=is_again
    )


def serve_command(options: argparse.Namespace) -> int:
    """`turntape serve`."""
    config = load_config(options)
    diagnostics.configure(config)
    with signals.caught() as caught:
        reread = functools.partial(_read_config, options, is_again=True)
        return serve.run(config, caught, _announce, reread=reread)


def _announce(host: str, port: int) -> None:
    serve.announce(f"turntape {VERSION} on http://{host}:{port}/v1")


def config_command(options: argparse.Namespace) -> int:
    """`turntape config`."""
    config = load_config(options)
    if options.check:
        return configcheck.run(config, os.environ)
    rows = configuration.describe(config)
    width = max(len(row.name) for row in rows)
    for row in rows:
        printing.say(f"{row.name:<{width}}  {row.value}  ({row.source})  {row.meaning}")
    return 0


def demo_command(options: argparse.Namespace) -> int:
    """`turntape demo`."""
    return demo.run(options.port, options.once)


def doctor_command(options: argparse.Namespace) -> int:
    """`turntape doctor`."""
    from server.cli import doctor  # a server that runs for weeks has no need of it

    try:
        config, warnings = _read_config(options)
    except configuration.ConfigError as error:
        return doctor.refused(error, as_json=options.json)
    return doctor.run(config, warnings, os.environ, as_json=options.json)


def login_command(options: argparse.Namespace) -> int:
    """`turntape login`."""
    return login.run(_quiet_config(options), options)


def logout_command(options: argparse.Namespace) -> int:
    """`turntape logout`."""
    return login.log_out(_quiet_config(options))


def _quiet_config(options: argparse.Namespace) -> settings.Config:
    """The configuration of a command that starts a Codex, of which nobody asked to see much."""
    config = load_config(options)
    if "log_level" not in config.sources:
        config = msgspec.structs.replace(config, log_level="warning")
    diagnostics.configure(config)
    return config


def smoke_command(options: argparse.Namespace) -> int:
    """`turntape smoke`."""
    config: settings.Config | None = None
    try:
        config, _ = _read_config(options)
    except configuration.ConfigError:
        if options.url is None:
            raise
        # What is asked is elsewhere: then all that is missing is its log.
    return smoke.run(smoke.deployment(options, config), as_json=options.json)


def _parser() -> parsers.Parser:
    parser = parsers.Parser(
        prog="turntape",
        description="An OpenAI-compatible server in front of Codex. Every stream is logged, "
        "and every log replays.",
    )
    parser.add_argument("--version", action="version", version=f"turntape {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serving = commands.add_parser("serve", help="run the server; the worker is Codex by default")
    serving.set_defaults(run=serve_command)
    showing = commands.add_parser("config", help="show every setting, its value and its source")
    showing.add_argument(
        "--check", action="store_true", help="only say whether a server would take it"
    )
    showing.set_defaults(run=config_command)
    logging_in = commands.add_parser("login", help="log the server's Codex in, or say who is")
    login.add_arguments(logging_in)
    logging_in.set_defaults(run=login_command)
    logging_out = commands.add_parser("logout", help="remove the login of the server's Codex")
    logging_out.set_defaults(run=logout_command)
    diagnosing = commands.add_parser("doctor", help="say what is wrong, and what to do about it")
    diagnosing.add_argument("--json", action="store_true", help="one JSON object")
    diagnosing.set_defaults(run=doctor_command)
    trying_out = commands.add_parser(
        "smoke", help="ask a running server for all that clients need"
    )
    smoke.add_arguments(trying_out)
    trying_out.set_defaults(run=smoke_command)
    holding = commands.add_parser("keys", help="make, list and revoke the keys of clients")
    for_keys = keys.add_arguments(holding)
    own = (serving, showing, logging_in, logging_out, diagnosing, trying_out)
    for command in (*own, *for_keys):
        _add_settings(command)
    trying = commands.add_parser("demo", help="serve recorded streams, try one, replay it")
    trying.add_argument("--port", default="11435", help="TCP port; 0: any free one (11435)")
    trying.add_argument("--once", action="store_true", help="stop after the trial request")
    trying.set_defaults(run=demo_command)
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
    probing = commands.add_parser("health", help="ask whether a server is ready, for containers")
    health.add_arguments(probing)
    probing.set_defaults(run=health.run)
    for command in (*commands.choices.values(), *for_keys):
        command.set_defaults(parser=command)
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
