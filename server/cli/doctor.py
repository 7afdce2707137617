"""`turntape doctor`: what is wrong with a deployment, and what to do about it, a line a part."""

import argparse
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from engine.log.write import lock as writerlock
from server.cli import configured, printing
from server.cli.checks import (
    address,
    codex,
    directories,
    eventlog,
    findings,
    keys,
    machine,
    privacy,
    reach,
)
from server.cli.checks.findings import Finding, Status
from server.config import load as configuration, settings
from server.process import exits
from server.version import VERSION

INDENT: Final = 16
"""Blanks before advice, so that it stands below what was found."""

MARKS: Final = {Status.OK: "ok", Status.WARN: "warn", Status.FAIL: "FAIL"}
"""How each status is shown, in front of its line."""

Check = Callable[[], Iterable[Finding]]


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the command's arguments; those of the settings come beside them."""
    command.add_argument("--json", action="store_true", help="one JSON object")
    configured.add_arguments(command)


def run(options: argparse.Namespace) -> int:
    """`turntape doctor`."""
    try:
        config, warnings = configured.read(options)
    except configuration.ConfigError as error:
        return refused(error, as_json=options.json)
    return examine(config, warnings, os.environ, as_json=options.json)


def examine(
    config: settings.Config, warnings: list[str], environ: Mapping[str, str], *, as_json: bool
) -> int:
    """Look at everything, print it, and return the exit status: 1 where something is wrong."""
    report: list[Finding] = []
    for finding in _findings(config, warnings, environ):
        shown = _without_secrets(config, finding)
        report.append(shown)
        if not as_json:
            printing.say(*lines(shown))
    return _end(report, as_json=as_json)


def refused(error: configuration.ConfigError, *, as_json: bool) -> int:
    """Report a configuration that cannot be started with, of which nothing else can be said."""
    advice = "Correct it; `docs/configuration.md` has every setting. The rest was not looked at."
    finding = findings.fail("config", str(error), advice)
    if not as_json:
        printing.say(*lines(finding))
    return _end([finding], as_json=as_json)


def lines(finding: Finding) -> Iterator[str]:
    """The lines of a finding: what was found, and under it what to do."""
    yield from printing.folded(
        f"{MARKS[finding.status]:<4}  {finding.name:<8}  {finding.found}", INDENT
    )
    if finding.advice:
        yield from printing.folded(f"{' ' * INDENT}{finding.advice}", INDENT)


def _findings(
    config: settings.Config, warnings: list[str], environ: Mapping[str, str]
) -> Iterator[Finding]:
    server = eventlog.holder(config.log_dir / writerlock.LOCK)
    checks: dict[str, Check] = {
        "config": lambda: _config(config, warnings),
        "keys": lambda: keys.check(config),
        "extras": lambda: machine.check(config, server),
        "codex": lambda: codex.check(config, environ),
        "reach": lambda: reach.check(config),
        "data": lambda: directories.check(config),
        "privacy": lambda: privacy.check(config),
        "port": lambda: address.check(config),
        "log": lambda: eventlog.check(config),
    }
    for name, check in checks.items():
        try:
            yield from check()
        except OSError as error:  # something else than what it looks for
            found = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            yield findings.fail(
                name, found, "It could not be looked at: is this the server's user?"
            )


def _config(config: settings.Config, warnings: list[str]) -> Iterator[Finding]:
    kinds = ", ".join(config.workers())
    yield findings.ok("config", f"{len(config.sources)} settings given; workers: {kinds}")
    for warning in warnings:
        yield findings.warn("config", warning, "`turntape config` shows what is in effect.")


def _without_secrets(config: settings.Config, finding: Finding) -> Finding:
    """Return a finding as it may be pasted into an issue."""
    hide = config.redaction().hide
    return finding._replace(found=hide(finding.found), advice=hide(finding.advice))


def _end(report: list[Finding], *, as_json: bool) -> int:
    failed = sum(each.status is Status.FAIL for each in report)
    warned = sum(each.status is Status.WARN for each in report)
    if as_json:
        checks = [{**each._asdict(), "status": each.status.value} for each in report]
        # ASCII alone, so that nothing in it steers a terminal.
        printing.say(json.dumps({"version": VERSION, "ok": not failed, "checks": checks}))
    else:
        printing.say("", f"{len(report)} looked at: {failed} wrong, {warned} to be watched")
    return exits.FAILED if failed else exits.CLEAN
