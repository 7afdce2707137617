"""Checks of the machine and the installation: file descriptors, the clock, the extras."""

import importlib.metadata
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from engine import scripted
from server.cli.checks.findings import Finding, fail, ok, warn
from server.config import settings

OWN_DESCRIPTORS: Final = 64
"""Descriptors of an idle server: its log, its store, its loop; and some to answer probes with."""

PROCESS_DESCRIPTORS: Final = 8
"""Descriptors for each Codex process: its pipes, and what its start takes."""

UNLIMITED_STREAMS: Final = 1000
"""How many streams are reckoned with where neither server nor worker has a limit."""

YEARS: Final = range(2025, 2100)
"""A clock outside of them was never set: it says 1970, or whatever its battery left."""

EXTRAS: Final = {
    "codex": "openai-codex-cli-bin",
    "otel": "opentelemetry-sdk",
    "upstream": "aiohttp",
}
"""The package that each extra of `pyproject.toml` brings."""


def check(config: settings.Config, server: int | None) -> Iterator[Finding]:
    """Look at what the machine gives the server.

    Args:
        server: the process that runs on these settings, if one does: its limits count.
    """
    yield _descriptors(config, server)
    yield _clock()
    yield _extras(config)
    if "scripted" in config.workers():
        yield _transcripts(config)


def wanted(config: settings.Config) -> int:
    """Descriptors that the server has open at its limits: a connection for each client, another
    for each stream of an upstream."""
    processes = config.worker_count if "codex" in config.workers() else 0
    streams = config.sse_max_concurrency
    if not streams:
        only_codex = config.workers() == ("codex",)
        streams = processes * config.worker_max_concurrency if only_codex else UNLIMITED_STREAMS
    ways = 2 if "upstream" in config.workers() else 1
    return OWN_DESCRIPTORS + processes * PROCESS_DESCRIPTORS + ways * streams


def _descriptors(config: settings.Config, server: int | None) -> Finding:
    limit, whose = _limit(server)
    need = wanted(config)
    found = f"{limit} for {whose}, some {need} at the configured limits"
    if limit < need:
        advice = (
            "Raise it: `ulimit -n` in a shell, LimitNOFILE= in a unit, `ulimits` of a container; "
            "or set PROXY_SSE_MAX_CONCURRENCY."
        )
        return warn("fds", found, advice)
    return ok("fds", found)


def _limit(server: int | None) -> tuple[int, str]:
    if server is not None:
        try:
            limits = Path(f"/proc/{server}/limits").read_text()
            line = next(each for each in limits.splitlines() if each.startswith("Max open files"))
            return int(line.split()[3]), f"process {server}"
        except (OSError, StopIteration, ValueError):  # another user's, or `unlimited`
            pass
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft, "this shell"


def _clock() -> Finding:
    now, first = time.time(), time.monotonic_ns()
    year = time.gmtime(now).tm_year
    if year not in YEARS:
        advice = "Set the clock: logins and certificates are refused by it."
        return fail("clock", f"it is the year {year}", advice)
    if time.monotonic_ns() < first:
        advice = "The kernel's clock source is broken; look at `dmesg`."
        return fail("clock", "the monotonic clock went back", advice)
    return ok("clock", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))


def _extras(config: settings.Config) -> Finding:
    versions = {name: _version(package) for name, package in EXTRAS.items()}
    there = [f"{name} ({EXTRAS[name]} {has})" for name, has in versions.items() if has]
    found = ", ".join(there) or "none"
    if "upstream" in config.workers() and versions["upstream"] is None:
        return fail("extras", found, "The upstream worker needs pip install 'turntape[upstream]'.")
    if config.enable_tracing and versions["otel"] is None:
        return fail("extras", found, "PROXY_ENABLE_TRACING needs pip install 'turntape[otel]'.")
    return ok("extras", found)


def _transcripts(config: settings.Config) -> Finding:
    try:
        found = scripted.load(config.transcripts_dir)
        scripted.ScriptedWorker(
            config.transcripts_dir, config.scripted_speed, config.scripted_transcript
        )
    except scripted.TranscriptError as error:
        advice = "Correct PROXY_TRANSCRIPTS_DIR and PROXY_SCRIPTED_TRANSCRIPT."
        return fail("recorded", str(error), advice)
    return ok("recorded", f"{len(found)} transcripts in {config.transcripts_dir}")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
