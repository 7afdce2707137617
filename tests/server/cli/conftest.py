"""Commands that run in the process of the tests set its diagnostics up as their own."""

import pytest


@pytest.fixture(autouse=True)
def commands_change_no_diagnostics(diagnostics_as_before: None) -> None:
    """Takes back what a command does to the diagnostics."""
