"""How far something is, is said to people only, and only of what takes long."""

import io
import sys

import pytest

from server.cli.log import terminal


class Terminal(io.StringIO):
    """A standard error that is one."""

    def isatty(self) -> bool:
        return True


def told(monkeypatch: pytest.MonkeyPatch, output: io.StringIO, patience: float) -> str:
    monkeypatch.setattr(sys, "stderr", output)
    monkeypatch.setattr(terminal, "PATIENCE_S", patience)
    progress = terminal.Progress("searching")
    for done in (1, 5, 10):
        progress(done, 10)
    return output.getvalue()


def test_what_takes_long_is_told_on_a_terminal_and_wiped_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = told(monkeypatch, Terminal(), 0.0)
    assert "searching: 10 %" in said
    assert "searching: 50 %" in said
    assert said.endswith("\r\x1b[K")


def test_nothing_is_told_of_what_is_quick_or_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, Terminal(), 1e9) == ""
    assert told(monkeypatch, io.StringIO(), 0.0) == ""


def test_a_line_for_a_file_is_plain_and_harmless(capfd: pytest.CaptureFixture[str]) -> None:
    terminal.show([[terminal.Piece("a\x1b[31m", "bold red"), terminal.Piece("b\n  ")]])
    assert capfd.readouterr().out == "a\\x1b[31mb\\n\n"


@pytest.mark.parametrize(
    ("columns", "wide"),
    [(None, None), ("80", 80), ("40", 40), ("0", None), ("wide", None), ("", None), ("²", None)],
)
def test_a_line_for_a_program_is_as_long_as_it_is_unless_columns_says_how_long(
    columns: str | None, wide: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert terminal.width() == wide
