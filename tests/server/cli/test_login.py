"""`turntape login` shows where to log in."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import measured, serving

pytestmark = pytest.mark.slow


@pytest.mark.codex
def test_the_login_link_is_shown(tmp_path: Path) -> None:
    with subprocess.Popen(
        (sys.executable, "-m", "server", "login"),
        cwd=serving.ROOT,
        env={"PATH": "/usr/bin:/bin", "PROXY_DATA_DIR": str(tmp_path), **measured.VARIABLES},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as login:
        assert login.stdout is not None
        shown = [login.stdout.readline() for _ in range(3)]
        login.send_signal(signal.SIGINT)
        assert login.wait(timeout=20) == 130
    assert shown[2].strip().startswith("https://auth.openai.com/oauth/authorize?")
