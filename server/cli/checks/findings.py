"""A finding of `turntape doctor`: what was looked at, how it is, and what to do next."""

import enum
from typing import NamedTuple


class Status(enum.Enum):
    """How well a part is; the value is the word in JSON."""

    OK = "ok"
    WARN = "warn"
    """It works, and may not for long, or not as somebody meant it to."""
    FAIL = "fail"
    """Requests fail by it, or would, or others can read what is none of theirs."""


class Finding(NamedTuple):
    """One line of the report.

    Attributes:
        name: of the part, one word.
        found: what is there, in a few words.
        advice: what to do next, as sentences; empty where there is nothing to do.
    """

    name: str
    status: Status
    found: str
    advice: str = ""


def ok(name: str, found: str) -> Finding:
    """Return a finding of something that is as it should be."""
    return Finding(name, Status.OK, found)


def warn(name: str, found: str, advice: str) -> Finding:
    """Return a finding that fails nothing today."""
    return Finding(name, Status.WARN, found, advice)


def fail(name: str, found: str, advice: str) -> Finding:
    """Return a finding of something that is wrong."""
    return Finding(name, Status.FAIL, found, advice)


def size(count: int) -> str:
    """Return a number of bytes for people: `512 B`, `3.4 MiB`."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"


def span(seconds: float) -> str:
    """Return a length of time for people, rounded down: `40 s`, `8 h`, `3 days`."""
    for unit, length, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < most * length:
            return f"{int(seconds / length)} {unit}"
    return f"{int(seconds / 86_400)} days"
