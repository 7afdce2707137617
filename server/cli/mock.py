"""`turntape mock`: recorded streams for the tests of other programs, with faults on demand."""

import argparse
import contextlib
import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from engine import scripted
from server import diagnostics, serve
from server.config import load as configuration, settings
from server.mock import faults, front, matching, recorder, scopes, scratch
from server.process import eventloop, signals

CREDENTIALS: Final = ("PROXY_API_KEY", "PROXY_ADMIN_KEY")
"""All that a mock takes from the environment: it is the same wherever it runs."""

OF_UPSTREAM: Final = ("PROXY_API_KEY", "PROXY_UPSTREAM_API_KEY", "PROXY_UPSTREAM_HEADERS")
"""The variables that the server in front of the provider takes from there."""

STDIN: Final = 0
"""The descriptor."""


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
    command.add_argument(
        "--stop-with-stdin", action="store_true", help="stop when standard input ends"
    )
    chosen = command.add_argument_group("recordings that answer the requests they were made of")
    chosen.add_argument(
        "--match",
        choices=[each.value for each in matching.Match],
        help="what has to be the same; any of these flags has requests be matched (message)",
    )
    chosen.add_argument(
        "--on-miss",
        choices=[each.value for each in scopes.OnMiss],
        help="where no recording matches; all but the first need --upstream (fail)",
    )
    chosen.add_argument("--upstream", metavar="URL", help="the provider, as PROXY_UPSTREAM_URL")
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
        TranscriptError: there is nothing to play.
        ExtraMissing: a provider is to be asked, and the upstream worker is not installed.
    """
    fault = _fault(options)
    own = _own(options)
    scratch.sweep()
    with (
        signals.caught() as caught,
        scratch.directory() as directory,
        scratch.directory() as of_upstream,
    ):
        config = _config(_settings(options, directory, own), options)
        passing = None
        if options.upstream is not None:
            passing = recorder.Recorder(_config(_passing(options, of_upstream), None))
        diagnostics.configure(config)
        if options.stop_with_stdin:
            threading.Thread(target=_stop_with_stdin, daemon=True).start()
        worker = scripted.ScriptedWorker(
            config.transcripts_dir, config.scripted_speed, config.scripted_transcript
        )
        if own is not None or config.admin_key is not None:
            worker.accept_any()
        before = front.Front(config, worker, passing, own, fault)
        return eventloop.run(_serve(config, caught, before, passing, worker))


async def _serve(
    config: settings.Config,
    caught: signals.Caught,
    before: front.Front,
    passing: recorder.Recorder | None,
    worker: scripted.ScriptedWorker,
) -> int:
    if passing is not None:
        await passing.start(os.environ)
    try:
        return await serve.serve(
            config,
            caught,
            _announce,
            before.before,
            make_workers=lambda *_: {worker.kind.name: worker},
        )
    finally:
        if passing is not None:
            await passing.stop()


def _stop_with_stdin() -> None:
    """Stop as a signal would have it once whoever started the mock is gone, however they went."""
    with contextlib.suppress(OSError):
        while os.read(STDIN, 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


_FLAGS = {
    "PROXY_LOG_DIR": "--log-dir",
    "PROXY_SCRIPTED_SPEED": "--speed",
    "PROXY_SCRIPTED_TRANSCRIPT": "--transcript",
    "PROXY_TRANSCRIPTS_DIR": "--transcripts",
    "PROXY_UPSTREAM_URL": "--upstream",
}
"""The option of this command line for each setting that has one."""


def _config(environ: Mapping[str, str], options: argparse.Namespace | None) -> settings.Config:
    """Settings as they are checked everywhere.

    Args:
        options: with the address; None: any port of loopback.
    """
    flags = {"port": "0"} if options is None else {"port": options.port, "host": options.host}
    try:
        return configuration.load(environ, flags)[0]
    except configuration.ConfigError as error:
        name = _FLAGS.get(error.name, error.name)
        raise configuration.ConfigError(name, error.problem) from None


def _settings(
    options: argparse.Namespace, directory: str, own: scopes.ScopeOptions | None
) -> dict[str, str]:
    return {
        "PROXY_WORKER": "scripted",
        "PROXY_DATA_DIR": directory,
        "PROXY_EVENT_LOG": "full",
        "PROXY_LOG_DIR": str(options.log_dir or ""),
        "PROXY_LOG_LEVEL": "error",
        **{name: os.environ.get(name, "") for name in CREDENTIALS},
        # What is matched is played in its scope; there may be nothing to play yet.
        "PROXY_TRANSCRIPTS_DIR": options.transcripts or "" if own is None else "",
        "PROXY_SCRIPTED_TRANSCRIPT": options.transcript or "",
        "PROXY_SCRIPTED_SPEED": options.speed or "0",
        # What comes when is the recording's to say, and a fault's; who stops a mock waits for
        # none of its answers.
        "PROXY_SSE_KEEPALIVE_MS": "0",
        "PROXY_DRAIN_TIMEOUT_MS": "0",
    }


def _passing(options: argparse.Namespace, directory: str) -> dict[str, str]:
    return {
        "PROXY_WORKER": "upstream",
        "PROXY_UPSTREAM_URL": options.upstream,
        "PROXY_DATA_DIR": directory,
        "PROXY_EVENT_LOG": "full",
        "PROXY_LOG_LEVEL": "error",
        **{name: os.environ.get(name, "") for name in OF_UPSTREAM},
        "PROXY_SSE_KEEPALIVE_MS": "0",
        "PROXY_DRAIN_TIMEOUT_MS": "0",
    }


def _own(options: argparse.Namespace) -> scopes.ScopeOptions | None:
    """The scope of the command line; None where its requests are not matched."""
    if options.match is None and options.on_miss is None:
        return None
    if options.transcripts is None:
        raise configuration.ConfigError("--transcripts", "requests are matched, but with what?")
    on_miss = scopes.OnMiss(options.on_miss or "fail")
    if on_miss is not scopes.OnMiss.FAIL and options.upstream is None:
        raise configuration.ConfigError("--on-miss", f"{on_miss.value} needs --upstream")
    try:
        speed = float(options.speed or 0)
    except ValueError:
        speed = 0  # what is wrong with it is said where it is a setting
    return scopes.ScopeOptions(
        transcripts=(options.transcripts,),
        match=matching.Match(options.match or "message"),
        on_miss=on_miss,
        transcript=options.transcript or "",
        speed=speed,
        # Each was looked at by itself, so that none has a comma in it.
        fault=", ".join(
            name if value is None else f"{name}={value}" for name, value in _words(options)
        ),
    )


def _words(options: argparse.Namespace) -> list[tuple[str, str | None]]:
    given = ((name, getattr(options, name.replace("-", "_"))) for name in faults.OPTIONS)
    return [
        (name, None if value is True else value)
        for name, value in given
        if value not in (None, False)
    ]


def _fault(options: argparse.Namespace) -> faults.Fault | None:
    words = _words(options)
    try:
        return faults.declare(words) if words else None
    except faults.FaultRefused as refused:
        raise configuration.ConfigError(f"--{refused.name}", refused.problem) from None


def _announce(host: str, port: int) -> None:
    serve.announce(f"turntape mock on http://{host}:{port}/v1")
