"""Holds lines of a server's diagnostics to their JSON Schema, which `docs/` has as a file."""

import functools
from collections.abc import Iterable
from typing import Any

import jsonschema  # type: ignore[import-untyped] # its types are a package of their own

from server.logschema import lines


def unlike(written: Iterable[dict[str, Any]]) -> list[str]:
    """Return what is wrong with what was written, lines of other programs left out."""
    return [problem for line in written if "timestamp" in line for problem in _problems(line)]


def _problems(line: dict[str, Any]) -> list[str]:
    kind = _kinds().get(str(line.get("event")))
    if kind is None:
        return [f"no such event: {line}"]
    return [f"{error.message}: {line}" for error in kind.iter_errors(line)]


@functools.cache
def _kinds() -> dict[str, Any]:
    """A validator for each kind of line: which of them all a line is, its `event` says."""
    kinds = lines.schema()["oneOf"]
    return {each["title"]: jsonschema.Draft202012Validator(each) for each in kinds}
