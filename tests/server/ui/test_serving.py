"""The page's server on loopback, from its link to its end."""

import signal
from pathlib import Path

import pytest

from tests.support.logs import gallery
from tests.support.process import uipage


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    gallery.mixed(tmp_path, 2)
    with uipage.Page(tmp_path) as page:
        page.enter()
        assert page.ask("/api/streams").status == 200
        assert page.stop(number) == 0


def test_it_listens_on_loopback_and_says_so(tmp_path: Path) -> None:
    gallery.mixed(tmp_path, 2)
    with uipage.Page(tmp_path) as page:
        assert page.base.startswith("http://127.0.0.1:")


def test_each_run_has_a_token_of_its_own(tmp_path: Path) -> None:
    gallery.mixed(tmp_path, 2)
    with uipage.Page(tmp_path) as one, uipage.Page(tmp_path) as other:
        assert one.token != other.token
        assert other.ask(f"/?token={one.token}").status == 401


def test_nothing_of_the_log_is_changed(tmp_path: Path) -> None:
    gallery.mixed(tmp_path, 5)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with uipage.Page(tmp_path) as page:
        page.enter()
        for row in page.json("/api/streams")["rows"]:
            page.json(f"/api/streams/{row['summary']}")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
