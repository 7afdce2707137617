"""Writes `docs/failures.md`, what everybody saw of a failure: `python -m tests.tools.failurepage`.

`tests.tools.failurescenes` plays each failure on a real server. What differs from run to run is
left out of what is written, as `…`: ids, times, durations, numbers of records, checksums. With
`--check` nothing is written, and the exit status says whether anything would change.
"""

import argparse
import difflib
import itertools
import json
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from tests.support.client import httpwire
from tests.tools import failurescenes, redraw
from tests.tools.failurescenes import Failure, Json

PAGE: Final = redraw.DOCS / "failures.md"

VARYING: Final = frozenset(
    (
        *("seq", "seg", "t", "crc", "body_hash", "ttft_us", "duration_us", "longest_gap_us"),
        *("first_content_us", "longest_gap_owner", "own_us", "process"),
        *("timestamp", "ttft_ms", "duration_ms", "overhead_ms", "pid", "version"),
    )
)
"""Members of records and lines whose values differ from run to run."""

SHOWN: Final = ("request_rejected", "turn_failed", "terminal")
"""Events of records that are shown: why it failed, and how it ended."""

HEADERS: Final = (
    *("allow", "content-type", "retry-after", "www-authenticate", "x-request-id"),
    "x-should-retry",
    *("access-control-allow-headers", "access-control-allow-methods"),
    *("access-control-allow-origin", "connection", "vary", "x-turntape-stream"),
)
"""Headers of answers that are shown; the others are the same of every answer, or HTTP's own."""

FRAMES: Final = 2
"""The last frames of a stream that are shown."""

WIDTH: Final = 96

NOTHING: Final = "(none)"
"""Stands where nobody wrote anything."""

_BLOCK: Final = re.compile(r"(?s)(<!-- played: (\w+) -->\n).*?(<!-- end played -->)")


def blocks(failure: Failure) -> str:
    """The four blocks of a failure, as they are on the page."""
    records = [each for each in failure.records if each["event"] in SHOWN]
    parts = {
        "The client": client_view(failure.response),
        "The event log": _objects(records),
        "The access line": _objects([failure.access]),
        "The rest of the diagnostics": _objects(failure.lines),
    }
    return "\n".join(f"{title}:\n\n```text\n{text}\n```\n" for title, text in parts.items())


def client_view(response: httpwire.Response) -> str:
    """Status, headers and body, of a stream its last frames."""
    shown = [f"{name}: {response.headers[name]}" for name in HEADERS if name in response.headers]
    text = response.body.decode()
    frames = text.split("\n\n")[:-1] if text.startswith("data:") else [text]
    if len(frames) > FRAMES:
        frames = ["…", *frames[-FRAMES:]]
    if not response.whole:
        frames.append("(the client left)")
    head = "\n".join((f"HTTP/1.1 {response.status}", *shown))
    return _steady("\n\n".join((head, *filter(None, frames))))


def _objects(values: Iterable[Json]) -> str:
    """Records or lines, each folded between two of its members."""
    return "\n".join(map(folded, values)) or NOTHING


def folded(value: Mapping[str, Any]) -> str:
    """An object as JSON, over several lines where it is long."""
    members = []
    for name, member in value.items():
        shown = "…" if name in VARYING else json.dumps(member, ensure_ascii=False)
        members.append(f'"{name}": {_steady(shown)}')
    lines = [""]
    for member in members:
        if lines[-1] and len(lines[-1]) + len(member) + 2 > WIDTH:
            lines[-1] += ","
            lines.append("")
        lines[-1] += f", {member}" if lines[-1] else member
    return "{" + textwrap.indent("\n".join(lines), " ")[1:] + "}"


def _steady(text: str) -> str:
    """A text without ids and times."""
    text = re.sub(r"\b(st|rj|chatcmpl)([_-])[0-9a-f]{24}\b", r"\1\2…", text)
    return re.sub(r'"created":\d+', '"created":…', text)


def play(failures: Iterable[tuple[str, Failure]]) -> dict[str, str]:
    """The blocks of each failure, by its name."""
    return {name: blocks(failure) for name, failure in failures}


def put(page: str, played: Mapping[str, str]) -> str:
    """The page with these failures as they were played; others stay as they are."""

    def new(match: re.Match[str]) -> str:
        begin, name, end = match.groups()
        return f"{begin}\n{played[name]}\n{end}" if name in played else match[0]

    return _BLOCK.sub(new, page)


def names(page: str) -> list[str]:
    """The failures of a page, in order."""
    return [match[2] for match in _BLOCK.finditer(page)]


def difference(before: str, after: str) -> Iterator[str]:
    """Lines that show what changes on the page; none where nothing does."""
    return difflib.unified_diff(
        before.splitlines(), after.splitlines(), "on the page", "played", lineterm="", n=1
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where the page is written, or is as it would be; else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.failurepage", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    options = parser.parse_args(arguments)
    before = PAGE.read_text(encoding="utf-8")
    failures = failurescenes.upstream_failures(), failurescenes.codex_failures()
    after = put(before, play(itertools.chain(*failures)))
    lines = list(difference(before, after))
    sys.stdout.writelines(line + "\n" for line in lines)
    if not options.check:
        PAGE.write_text(after, encoding="utf-8")
        return 0
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
