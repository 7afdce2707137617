"""Benchmarks and guards run alone, one after the other, in one process."""

import pytest

from bench import budgets


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run benchmarks in one process with `-n auto`."""
    return 0


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> budgets.Say:
    """Prints what was measured, even where the guard holds."""

    def print_it(text: str) -> None:
        with capsys.disabled():
            print(f"\n    {text}", end="", flush=True)

    return print_it
