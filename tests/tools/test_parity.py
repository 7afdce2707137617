"""What `python -m tests.tools.parity` calls a gap, and that the page on file has none."""

import shutil
from pathlib import Path

import msgspec
import pytest

from tests.tools import capture, parity
from tests.tools.normalise import Transcript

DESCRIBED = list(capture.all_scenarios())


def on_file(name: str) -> Transcript:
    """A capture that finds nothing new."""
    paths = (capture.DIRECTORY / f"{name}.{suffix}" for suffix in capture.SUFFIXES)
    return Transcript(*(path.read_bytes() for path in paths))


CAPTURED = {name: on_file(name) for name in DESCRIBED}


def test_the_page_on_file_is_of_these_scenarios_and_these_transcripts() -> None:
    rows = parity.compare(CAPTURED, DESCRIBED, capture.DIRECTORY)
    assert {row.state for row in rows.values()} == {parity.State.SAME}
    page = parity.PAGE.read_text("utf-8")
    assert page == parity.page(rows), "out of date: run `python -m tests.tools.parity`"


def test_all_that_must_be_shown_is_required_and_described() -> None:
    assert set(parity.required()) <= set(DESCRIBED)
    assert {"baseline", "streaming", "tools", "errors", "truncation"} <= parity.SHOWN.keys()
    assert all(parity.SHOWN.values())


def test_a_change_is_a_gap() -> None:
    other = msgspec.structs.replace(CAPTURED["length"], sse=b"data: {}\n\n")
    row = parity.row("length", other, capture.DIRECTORY)
    assert row.state is parity.State.CHANGED
    assert any(line.startswith("+data: {}") for line in row.problems)


def test_a_missing_file_or_capture_or_scenario_is_a_gap(tmp_path: Path) -> None:
    corpus = shutil.copytree(capture.DIRECTORY, tmp_path / "transcripts")
    (corpus / "length.sse").unlink()
    gone = parity.row("length", CAPTURED["length"], corpus)
    assert (gone.state, gone.problems) == (parity.State.MISSING, ("missing: length.sse",))
    assert parity.row("empty", None, corpus).state is parity.State.NOT_CAPTURED
    rows = parity.compare(CAPTURED, [name for name in DESCRIBED if name != "length"], corpus)
    page = parity.page(rows)
    assert "required and not described: length" in page
    assert "| `length` | - | **missing** |" in page


@pytest.mark.codex
def test_a_missing_scenario_makes_the_command_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    every = capture.all_scenarios()
    few = {name: every[name] for name in ("text-short", "upstream-vllm-text")}
    monkeypatch.setattr(capture, "all_scenarios", lambda: few)
    page = tmp_path / "parity.md"
    assert parity.main(["--page", str(page), "--artifacts", str(tmp_path / "kept")]) == 1
    printed = capsys.readouterr().out
    assert "text-short: the same\n" in printed
    assert "missing: a scenario length\n" in printed
    assert "**missing**" in page.read_text("utf-8")
    kept = {path.name for path in (tmp_path / "kept").iterdir()}
    assert kept == {"captured", "expected", "parity.md", "report.txt"}
