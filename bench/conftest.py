"""Benchmarks and guards run alone, one after the other, in one process."""

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run benchmarks in one process with `-n auto`."""
    return 0
