"""Commands that run in the process of the tests: what they set up, and what they see."""

import pytest


@pytest.fixture(autouse=True)
def commands_change_no_diagnostics(diagnostics_as_before: None) -> None:
    """Takes back what a command does to the diagnostics."""


@pytest.fixture(autouse=True)
def nobody_says_how_wide_lines_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes away what a shell may have exported."""
    monkeypatch.delenv("COLUMNS", raising=False)
