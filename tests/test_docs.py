"""The documentation says what the program says: names, commands, links, printed parts."""

import functools
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from engine.codex.protocol import appserver
from engine.log.read import segments
from machines import events, outputs
from server import router, version
from server.config import load as configuration, settings
from server.http import errors
from server.process import exits
from tests.support.process import readme
from tests.tools import redraw

ROOT = readme.ROOT
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
BLOCKS = (*redraw.MACHINES, *redraw.PRINTED)
PAGES = [readme.PAGE, CONTRIBUTING, *redraw.pages()]
DEPLOY = sorted(path for path in (redraw.DOCS / "deploy").iterdir() if path.suffix != ".md")
SOURCES = "\n".join(
    path.read_text(encoding="utf-8")
    for layer in ("engine", "server")
    for path in sorted((ROOT / layer).rglob("*.py"))
)

each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)


def text_of(page: str) -> str:
    """A page of the documentation."""
    return (redraw.DOCS / page).read_text(encoding="utf-8")


def cells(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading."""
    section = text_of(page).partition(f"\n## {heading}\n")[2]
    assert section, f"{page} has no {heading!r}"
    rows = re.search(r"(?m)^\| ---.*\n((?:\|.*\n)+)", section)
    assert rows is not None
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[1].splitlines()]


@functools.cache
def anchors(page: Path) -> set[str]:
    """What a link to a page may end with: its headings, as they are on the web."""
    headings = re.findall(r"(?m)^#+ (.*)$", page.read_text(encoding="utf-8"))
    return {
        re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings
    }


def links(page: Path) -> list[tuple[Path, str]]:
    """File and anchor of every relative link of a page."""
    text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text)
    split = [target.partition("#") for target in targets if "://" not in target]
    return [((page.parent / path).resolve() if path else page, to) for path, _, to in split]


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in links(page):
        assert target.exists(), target
        assert not anchor or anchor in anchors(target), f"{target}#{anchor}"


def test_every_page_can_be_reached_from_the_index() -> None:
    found: set[Path] = set()
    ahead = [redraw.DOCS / "index.md"]
    while ahead:
        page = ahead.pop()
        if page.suffix == ".md" and page not in found:
            found.add(page)
            ahead += [target for target, _ in links(page)]
    fragments = set((redraw.DOCS / "changelog.d").glob("*.*.md"))
    assert set(redraw.pages()) - fragments <= found


@pytest.mark.parametrize("name", BLOCKS)
def test_a_printed_part_is_current(name: str) -> None:
    pages = [page for page in PAGES if f"<!-- drawn: {name} -->" in page.read_text("utf-8")]
    assert len(pages) == 1
    drawn = redraw.block(name)
    assert drawn in pages[0].read_text("utf-8"), "out of date: run `python -m tests.tools.redraw`"


@each_page
def test_a_page_has_no_printed_part_that_nothing_prints(page: Path) -> None:
    names = re.findall(r"<!-- drawn: (\w+) -->", page.read_text(encoding="utf-8"))
    assert set(names) <= set(BLOCKS)


def test_every_variable_is_documented() -> None:
    names = {name for item in settings.SETTINGS for name in item.names}
    assert {name for name in names if f"`{name}`" not in text_of("configuration.md")} == set()


@pytest.mark.parametrize("page", [*PAGES, *DEPLOY], ids=lambda page: page.name)
def test_only_known_variables_are_mentioned(page: Path) -> None:
    known = {name for item in settings.SETTINGS for name in item.names}
    patterns = [name.removesuffix("*") for name in configuration.RETIRED]
    now = re.sub(r"(?ms)^ *```diff$.*?^ *```$", "", page.read_text(encoding="utf-8"))
    mentioned = re.findall(r"\b(?:PROXY|WORKER|CODEX)_[A-Z_]*[A-Z]\b", now)
    for name in mentioned:
        assert name in known or any(f"{name}_".startswith(start) for start in patterns), name


def run(*arguments: str) -> str:
    """What the command line says."""
    done = subprocess.run(
        (sys.executable, "-m", "server", *arguments),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@functools.cache
def subcommands() -> set[str]:
    """The commands of the command line."""
    found = re.findall(r"(?m)^ {4}(\w+) {2,}", run("--help"))
    assert found
    return set(found)


def test_every_command_is_documented() -> None:
    shown = re.findall(r"(?m)^ {4}turntape (\w+)", text_of("operations.md"))
    assert set(shown) == subcommands()


def test_every_exit_status_is_documented() -> None:
    statuses = ", ".join(row[0] for row in cells("commands.md", "Exit statuses")).split(", ")
    signalled = [signal.SIGINT, signal.SIGTERM, signal.SIGPIPE]
    assert list(map(int, statuses)) == [
        *(exits.CLEAN, exits.FAILED, exits.USAGE, exits.NOT_FOUND),
        *(exits.SIGNALLED + number for number in signalled),
    ]


@each_page
def test_only_known_commands_are_mentioned(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    mentioned = re.findall(r"(?m)(?:`|/|^ {4})turntape (\w+)", text)
    assert set(mentioned) <= subcommands()


@each_page
def test_every_program_and_file_that_is_mentioned_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for module in re.findall(r"\bpython3? -m ((?:server|engine|tests|bench)[\w.]*)", text):
        path = ROOT.joinpath(*module.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    for path in re.findall(r"`((?:engine|server|machines|bench|tests)/[\w./]*)`", text):
        assert (ROOT / path).exists() or path in appserver.METHODS, path


def test_every_event_and_output_is_documented() -> None:
    page = text_of("events.md")
    for kind in get_args(segments.LoggedEvent):
        assert f"\n### `{kind.__struct_config__.tag}`\n" in page
    for kind in get_args(outputs.AnyOutput):
        assert f"\n| `{kind.__struct_config__.tag}` |" in page


def test_every_end_of_a_stream_is_documented() -> None:
    kinds = [row[0].strip("`") for row in cells("events.md", "How a stream ended")]
    assert tuple(kinds) == get_args(events.TerminalKind)


def test_the_lines_that_are_shown_are_lines_of_a_log(tmp_path: Path) -> None:
    line, header = readme.examples(redraw.DOCS / "events.md", "json")
    log = tmp_path / "events-00000017.jsonl"
    log.write_text(f"{header}{line}", encoding="utf-8")
    reading = segments.read(log)
    (record,) = reading
    assert isinstance(record.load(), events.TextDelta)
    keys = re.findall(r"`(\w+)`", " ".join(row[0] for row in cells("events.md", "Form")))
    assert set(msgspec.json.decode(line)) - {"text"} <= set(keys)
    # Somebody cut the records out that were between the two.
    assert [problem.line for problem in reading.problems] == [2]


def test_every_error_and_route_is_documented() -> None:
    page = text_of("api.md")
    for code, case in errors.CASES.items():
        assert f"\n| {case.status} | `{code}` |" in page
    for route in router.ROUTES:
        assert f"\n| `{route.path}" in page


def test_every_header_is_documented() -> None:
    headers = set(re.findall(r'"(x-[a-z-]+|retry-after)"', SOURCES))
    page = text_of("api.md")
    assert {name for name in headers if f"`{name}" not in page} == set()


def test_the_schema_of_the_diagnostics_is_current() -> None:
    assert redraw.LINE_SCHEMA.read_text(encoding="utf-8") == redraw.line_schema()


def test_the_version_is_everywhere_the_same() -> None:
    assert f"turntape {version.VERSION}\n" == run("--version")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == version.VERSION
    versions = re.findall(r"(?m)^## (\S+)$", text_of("changelog.md"))
    assert versions[0] == version.VERSION


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    ours = (extras[name] for name in ("codex", "otel", "parquet", "terminal", "upstream"))
    required = [*project["dependencies"], *(each for extra in ours for each in extra)]
    names = {re.split(r"[^\w-]", requirement)[0] for requirement in required}
    rows = re.findall(r"(?m)^\| ([\w, -]+) \| \w", text_of("decisions/dependencies.md"))
    reasons = {name for row in rows for name in row.split(", ")}
    assert names == reasons - {"package"}


def test_a_fragment_of_the_changelog_is_named_for_what_it_is() -> None:
    for path in (redraw.DOCS / "changelog.d").iterdir():
        named = re.fullmatch(r"[\w-]+\.(added|changed|fixed|removed)\.md", path.name)
        assert path.name == "README.md" or named, path
        assert path.read_text(encoding="utf-8").strip()


def test_contributors_set_up_as_the_readme_says() -> None:
    assert readme.commands(CONTRIBUTING)[0] in readme.commands(readme.PAGE)


def test_a_service_is_killed_only_after_its_drain() -> None:
    defaults = {item.field: item.default for item in settings.SETTINGS}
    parts = ("drain_delay_ms", "drain_timeout_ms", "worker_shutdown_grace_ms")
    waits = [wait for wait in map(defaults.get, parts) if isinstance(wait, int)]
    assert len(waits) == len(parts)
    for name, setting in (
        ("turntape.service", r"TimeoutStopSec=(\d+)"),
        ("compose.yaml", r"stop_grace_period: (\d+)s"),
    ):
        seconds = re.search(setting, text_of(f"deploy/{name}"))
        assert seconds is not None
        assert int(seconds[1]) * 1000 > sum(waits)
