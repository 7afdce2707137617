"""A browser, a log worth looking at, and the page of it, for the tests of the page."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.logs import gallery
from tests.support.process import browser, uipage


@pytest.fixture(scope="session")
def gallery_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of a working day."""
    directory = tmp_path_factory.mktemp("gallery")
    gallery.mixed(directory)
    return directory


@pytest.fixture(scope="session")
def chromium() -> Iterator[browser.Browser]:
    """One window for all tests of a process."""
    with browser.running() as window:
        yield window


@pytest.fixture(scope="session")
def served(gallery_log: Path) -> Iterator[uipage.Page]:
    """The server of that log's page."""
    with uipage.Page(gallery_log) as page:
        yield page
