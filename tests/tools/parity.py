"""Says how far the server is held to the real binary: `python -m tests.tools.parity`.

It captures every scenario again (`tests.tools.capture`) and compares it with what is on file. What
comes out is `docs/parity.md`: for each thing that must be shown the scenarios that show it, from
which binary each was captured, what differs, what is missing. A scenario that is required and is
not described, not on file or not captured makes it fail, and so does a difference.
"""

import argparse
import enum
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.tools import capture, normalise, reference
from tests.tools.scenarios import REQUIRED

PAGE: Final = capture.DIRECTORY.parent / "docs" / "parity.md"

SHOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "baseline": ("text-short", "usage-on", "usage-off", "empty", "responses-text"),
    "streaming": (
        *("text-long", "unicode-split", "two-choices", "several-messages", "reasoning"),
        "responses-reasoning",
    ),
    "tools": (
        *("tool-call", "tool-call-after-text", "tool-calls-parallel", "tool-call-xml"),
        "responses-tool-calls",
    ),
    "tools in the text": (
        *("use-tool-json", "use-tool-json-split", "use-tool-xml", "use-tool-xml-split"),
        *("use-tool-undeclared", "use-tool-nested", "use-tool-unclosed"),
    ),
    "errors": (
        *("provider-error-before-first-token", "provider-error-after-first-token"),
        *("provider-bad-request", "rate-limit", "context-length", "worker-killed"),
        *("use-tool-unclosed-error", "responses-error"),
    ),
    "truncation": (
        *("length", "max-tokens", "stop-sequence", "content-filter", "refusal"),
        *("responses-length", "responses-refusal"),
    ),
    "clients that leave": ("client-gone", "use-tool-unclosed-client-gone"),
    **{
        f"an upstream like {server}": tuple(
            f"upstream-{server.lower().replace('.', '')}-{scene}"
            for scene in ("text", "usage", "reasoning", "tools", "error")
        )
        for server in ("vLLM", "Ollama", "llama.cpp")
    },
}
"""What must be shown, and the scenarios that show it; the page has a part for each."""

HEAD: Final = """\
# Parity with the real binary

Written by `python -m tests.tools.parity`, which plays every scenario again on the installed Codex
binary, or in front of a stand-in for an upstream, and compares log and bytes with
[what is on file](transcripts.md). CI runs it, fails where anything differs or is missing, and
keeps both sides in `artifacts/transcripts/`.
"""


class State(enum.Enum):
    """What became of one scenario."""

    SAME = "the same"
    CHANGED = "**changed**"
    MISSING = "**missing**"
    NOT_CAPTURED = "**not captured**"


class Row(NamedTuple):
    """One scenario of the page.

    Attributes:
        binary: what its file was captured from.
        compared: what it was captured from now; empty where it was not.
        problems: lines that say what differs or is missing.
    """

    name: str
    binary: str
    state: State
    problems: tuple[str, ...] = ()
    compared: str = ""


def row(name: str, captured: normalise.Transcript | None, directory: Path) -> Row:
    """One scenario against what is on file."""
    absent = [
        f"missing: {name}.{suffix}"
        for suffix in capture.SUFFIXES
        if not (directory / f"{name}.{suffix}").exists()
    ]
    if absent:
        return Row(name, "", State.MISSING, tuple(absent))
    binary = origin((directory / f"{name}.jsonl").read_bytes())
    if captured is None:
        return Row(name, binary, State.NOT_CAPTURED, (f"not captured: {name}",))
    lines = capture.difference(name, captured, directory)
    state = State.CHANGED if lines else State.SAME
    return Row(name, binary, state, tuple(lines), origin(captured.jsonl))


def origin(jsonl: bytes) -> str:
    """What a transcript was captured from, as its first record says."""
    codex = json.loads(jsonl.partition(b"\n")[0])["versions"].get("codex")
    return f"Codex {codex}" if codex else "a stand-in"


def page(rows: Mapping[str, Row]) -> str:
    """The page.

    Args:
        rows: of every scenario that there is, by name.
    """
    wrong = [each.name for each in rows.values() if each.state is not State.SAME]
    missing = [name for name in required() if name not in rows]
    now = sorted({each.compared for each in rows.values()} - {""})
    verdict = f"Compared with {' and '.join(now) or 'nothing'}: "
    verdict += f"{len(rows)} scenarios, {len(rows) - len(wrong)} the same"
    verdict += (
        f"; {len(missing)} required and not described: {', '.join(missing)}" if missing else ""
    )
    parts = [HEAD, f"{verdict}.\n"]
    for what, names in {**SHOWN, "more": tuple(rest(rows))}.items():
        cells = [(f"`{name}`", *_told(rows.get(name))) for name in names]
        if cells:
            parts.append(f"## {what[0].upper()}{what[1:]}\n")
            parts.append(reference.table(("scenario", "captured from", "now"), cells) + "\n")
    return "\n".join(parts)


def _told(found: Row | None) -> tuple[str, str]:
    return ("", State.MISSING.value) if found is None else (found.binary, found.state.value)


def required() -> list[str]:
    """Every scenario that must be there, once."""
    shown = (name for names in SHOWN.values() for name in names)
    return list(dict.fromkeys((*shown, *REQUIRED)))


def rest(rows: Iterable[str]) -> list[str]:
    """Scenarios that nothing requires."""
    shown = {name for names in SHOWN.values() for name in names}
    return [name for name in rows if name not in shown]


def compare(
    captured: Mapping[str, normalise.Transcript], described: Iterable[str], directory: Path
) -> dict[str, Row]:
    """A row for every scenario that is described."""
    return {name: row(name, captured.get(name), directory) for name in described}


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where everything that is required is there, and as it is on file; else 1."""
    options = _parser().parse_args(arguments)
    described = list(capture.all_scenarios())
    try:
        captured = capture.capture(described)
    except (capture.Broken, normalise.Changed) as error:
        sys.stdout.write(f"no capture: {error}\n")
        return 1
    rows = compare(captured, described, options.directory)
    missing = [f"missing: a scenario {name}" for name in required() if name not in rows]
    report = [f"{each.name}: {each.state.value.strip('*')}" for each in rows.values()]
    report += [line for each in rows.values() for line in each.problems] + missing
    text = page(rows)
    options.page.write_text(text, encoding="utf-8")
    if options.artifacts is not None:
        capture.keep(captured, options.directory, options.artifacts)
        (options.artifacts / "report.txt").write_text("\n".join(report) + "\n", "utf-8")
        (options.artifacts / "parity.md").write_text(text, encoding="utf-8")
    sys.stdout.writelines(line + "\n" for line in report)
    return 1 if missing or any(each.problems for each in rows.values()) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.parity", description=__doc__)
    parser.add_argument("--artifacts", type=Path, help="where to keep both sides and the report")
    parser.add_argument("--directory", type=Path, default=capture.DIRECTORY, help="the corpus")
    parser.add_argument("--page", type=Path, default=PAGE, help="where to write the page")
    return parser


if __name__ == "__main__":
    sys.exit(main())
