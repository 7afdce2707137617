"""Checks of the file of keys: how many there are, and whose time is over or nearly so."""

import time
from collections.abc import Iterator
from typing import Final

from server.cli.checks.findings import Finding, ok, warn
from server.config import settings

SOON_S: Final = 7 * 86_400
"""Before the end of a key, time to make another one."""

NAMED: Final = 3
"""Most names that one finding has."""


def check(config: settings.Config) -> Iterator[Finding]:
    """Look at each key of a file that could be read."""
    path = config.api_keys_file
    if path is None:
        return
    if not config.keys and config.api_key is None:
        yield warn("keys", f"none in {path}: nobody comes in", "`turntape keys add NAME`.")
        return
    now = time.time()
    ends = {name: key.expires_at for name, key in config.keys.items()}
    over = [name for name, end in ends.items() if end is not None and end <= now]
    soon = [name for name, end in ends.items() if end is not None and now < end <= now + SOON_S]
    if over:
        found = f"{len(over)} of {len(ends)} have expired: {_named(over)}"
        yield warn("keys", found, "`turntape keys add NAME --replace`, or `revoke NAME`.")
    if soon:
        found = f"{len(soon)} of {len(ends)} expire within a week: {_named(soon)}"
        advice = "`turntape keys add NAME --replace --keep-old --expires 90d`."
        yield warn("keys", found, advice)
    if not over and not soon:
        yield ok("keys", f"{len(ends)} in {path}")


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
