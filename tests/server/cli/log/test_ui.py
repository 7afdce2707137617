"""`turntape ui` as somebody at a terminal meets it."""

import os
import threading
from argparse import Namespace
from pathlib import Path

import pytest

from server.cli import command_line as cli
from server.cli.log import ui
from server.ui import serving as uiserving, view
from tests.support.logs import gallery
from tests.support.process import uipage


@pytest.fixture
def not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uiserving, "run", lambda *_: pytest.fail("it is served"))


def refused(path: Path, capfd: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str]:
    """How it ends, and what it says."""
    return cli.main(["ui", str(path), "--no-open", *flags]), capfd.readouterr().err


@pytest.mark.usefixtures("not_served")
def test_where_there_is_no_log_it_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = f"turntape: {tmp_path}/none: No such file or directory\n"
    assert refused(tmp_path / "none", capfd) == (1, said)


@pytest.mark.usefixtures("not_served")
@pytest.mark.parametrize("name", ["log", "log/events-00000001.jsonl"])
def test_what_cannot_be_read_is_refused_before_there_is_a_link(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log").mkdir()
    os.mkfifo(tmp_path / "log" / "events-00000001.jsonl")
    assert refused(tmp_path / name, capfd) == (
        1,
        f"turntape: {tmp_path}/log/events-00000001.jsonl: is not a regular file\n",
    )


@pytest.mark.usefixtures("not_served")
@pytest.mark.parametrize("name", ["empty", "other", "other/notes.txt", "other/notes.jsonl"])
def test_what_is_no_log_and_has_no_streams_is_not_found(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    for kind in ("txt", "jsonl"):
        (tmp_path / "other" / f"notes.{kind}").write_text('{"note":"no record"}\n')
    status, said = refused(tmp_path / name, capfd)
    assert status == 3
    assert (
        said
        == f"turntape: {tmp_path / name}: there are no streams, and it is no log's directory\n"
    )


def test_a_log_without_streams_is_served(tmp_path: Path) -> None:
    """They come as they are written."""
    gallery.Gallery(tmp_path).close()
    with uipage.Page(tmp_path) as page:
        page.enter()
        assert page.json("/api/streams") == {"rows": [], "before": None, "newest": 0}


@pytest.mark.usefixtures("not_served")
@pytest.mark.parametrize("port", ["x", "-1", "65536", "1" * 40])
def test_a_port_that_is_none_is_refused(
    tmp_path: Path, port: str, capfd: pytest.CaptureFixture[str]
) -> None:
    status, complaint = refused(tmp_path, capfd, f"--port={port}")
    assert status == 2
    said = f"argument --port: '{port}' is not accepted; it takes a whole number, 0 to 65535\n"
    assert complaint.endswith(said)


@pytest.mark.parametrize(
    ("no_open", "display", "opened"),
    [(False, ":0", True), (True, ":0", False), (False, "", False)],
)
def test_a_browser_is_opened_where_there_is_a_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_open: bool, display: str, opened: bool
) -> None:
    links: list[str] = []

    gallery.Gallery(tmp_path).close()

    def served(log: view.View, port: int, announce: uiserving.Announce) -> int:
        announce("http://127.0.0.1:1/?token=t")
        return 0

    class Now:
        def __init__(self, target: object, args: tuple[str, ...], daemon: bool) -> None:
            self.start = lambda: links.append(args[0])

    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(uiserving, "run", served)
    monkeypatch.setattr(threading, "Thread", Now)
    assert ui.run(Namespace(path=None, log=tmp_path, port=0, no_open=no_open)) == 0
    assert links == (["http://127.0.0.1:1/?token=t"] if opened else [])
