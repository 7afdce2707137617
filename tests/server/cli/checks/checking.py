"""The configuration of a deployment that is looked at, and its findings by name."""

from collections.abc import Iterable
from pathlib import Path

from server.cli.checks.findings import Finding
from server.config import load as configuration, settings


def config(data_dir: Path, **environ: str) -> settings.Config:
    """A configuration with these settings, of the scripted worker unless they say otherwise."""
    given = {"PROXY_DATA_DIR": str(data_dir), "PROXY_WORKER": "scripted", "PORT": "0"}
    return configuration.load({**given, **environ})[0]


def by_name(found: Iterable[Finding]) -> dict[str, Finding]:
    """The findings by their name, the last of several."""
    return {finding.name: finding for finding in found}
