"""`turntape ui` as somebody at a terminal meets it."""

import subprocess
import sys
import threading
from argparse import Namespace
from pathlib import Path

import pytest

from server.cli.log import ui
from server.ui import serving as uiserving
from tests.support.process import serving


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "server", "ui", *arguments)
    return subprocess.run(command, cwd=serving.ROOT, capture_output=True, text=True, timeout=60)


def test_where_there_is_no_log_it_says_so(tmp_path: Path) -> None:
    done = run(str(tmp_path / "none"), "--no-open")
    assert done.returncode == 1
    assert done.stderr == f"turntape: {tmp_path}/none: No such file or directory\n"


@pytest.mark.parametrize("port", ["x", "-1", "65536", "1" * 40])
def test_a_port_that_is_none_is_refused(tmp_path: Path, port: str) -> None:
    done = run(str(tmp_path), f"--port={port}")
    assert done.returncode == 2
    said = f"argument --port: '{port}' is not accepted; it takes a whole number, 0 to 65535\n"
    assert done.stderr.endswith(said)


@pytest.mark.parametrize(
    ("no_open", "display", "opened"),
    [(False, ":0", True), (True, ":0", False), (False, "", False)],
)
def test_a_browser_is_opened_where_there_is_a_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_open: bool, display: str, opened: bool
) -> None:
    links: list[str] = []

    def served(path: Path, port: int, announce: uiserving.Announce) -> int:
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
