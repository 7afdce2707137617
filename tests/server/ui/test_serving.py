"""The page's server on loopback, from its link to its end."""

import signal
from pathlib import Path

from tests.support.logs import gallery
from tests.support.process import uipage


def test_each_run_listens_on_loopback_with_a_token_of_its_own_until_a_signal(
    tmp_path: Path,
) -> None:
    gallery.mixed(tmp_path, 2)
    with uipage.Page(tmp_path) as one, uipage.Page(tmp_path) as other:
        assert one.base.startswith("http://127.0.0.1:")
        assert one.token != other.token
        assert other.ask(f"/?token={one.token}").status == 401
        one.enter()
        assert one.ask("/api/streams").status == 200
        assert one.stop(signal.SIGINT) == 0
        assert other.stop(signal.SIGTERM) == 0


def test_nothing_of_the_log_is_changed(tmp_path: Path) -> None:
    gallery.mixed(tmp_path, 5)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with uipage.Page(tmp_path) as page:
        page.enter()
        for row in page.json("/api/streams")["rows"]:
            page.json(f"/api/streams/{row['summary']}")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
