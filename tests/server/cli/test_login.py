"""`turntape login` shows where to log in, and says how that went."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import machinetime, measured, serving

pytestmark = pytest.mark.slow

APP_SERVER = """\
import json, sys

def write(**line):
    print(json.dumps(line), flush=True)

for line in sys.stdin:
    request = json.loads(line)
    if request["method"] == "initialize":
        write(id=request["id"], result={"userAgent": "codex/1", "codexHome": "/"})
    elif request["method"] == "account/login/start":
        result = {"type": "chatgpt", "loginId": "1", "authUrl": "https://auth.example/"}
        write(id=request["id"], result=result)
        write(method="account/login/completed", params=json.loads(sys.argv[1]))
"""
"""A Codex whose user has been to the link already, and how that went."""


LOGGED_IN = """\
Logged in. The login is kept in {home}.
A server that runs on it takes it within 5 s.
"""


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


@pytest.mark.parametrize(
    ("ended", "status", "said", "complained"),
    [
        (
            {"success": True, "loginId": "1"},
            0,
            LOGGED_IN,
            "",
        ),
        (
            {"success": False, "loginId": "1", "error": "access denied"},
            1,
            "",
            "turntape: login failed: access denied\n",
        ),
    ],
)
def test_how_the_login_went_is_said_and_is_the_exit_status(
    ended: dict[str, object], status: int, said: str, complained: str, tmp_path: Path
) -> None:
    program = tmp_path / "appserver.py"
    program.write_text(APP_SERVER)
    binary = tmp_path / "codex"
    binary.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{program}' '{json.dumps(ended)}'\n")
    binary.chmod(0o755)
    done = subprocess.run(
        (sys.executable, "-m", "server", "login"),
        cwd=serving.ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "PROXY_DATA_DIR": str(tmp_path),
            "CODEX_BIN": str(binary),
            **measured.VARIABLES,
        },
        capture_output=True,
        text=True,
        timeout=machinetime.HANG_S,
    )
    waiting = "Waiting for the login. Ctrl-C gives up.\n"
    shown, _, last = done.stdout.partition(waiting)
    assert "\n  https://auth.example/\n" in shown
    assert "ssh -L 1455:localhost:1455" in shown
    assert (done.returncode, done.stderr) == (status, complained)
    assert last == said.format(home=tmp_path / "codex-home")


@pytest.mark.parametrize(
    ("arguments", "environ", "status", "complained"),
    [
        (("login",), {"PROXY_CODEX_API_KEY": "sk-secret"}, 1, "PROXY_CODEX_API_KEY is set"),
        (("logout",), {"PROXY_CODEX_API_KEY": "sk-secret"}, 1, "PROXY_CODEX_API_KEY is set"),
        (("login",), {"PROXY_CODEX_BASE_URL": "http://h/v1"}, 1, "PROXY_CODEX_BASE_URL is set"),
        (("login", "--with-api-key"), {}, 2, "no API key on standard input"),
        (("login", "--device", "--with-api-key"), {}, 2, "not allowed with"),
    ],
)
def test_what_no_login_can_come_of_is_refused_and_says_what_to_do(
    arguments: tuple[str, ...],
    environ: dict[str, str],
    status: int,
    complained: str,
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        (sys.executable, "-m", "server", *arguments),
        cwd=serving.ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "PROXY_DATA_DIR": str(tmp_path),
            **environ,
            **measured.VARIABLES,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=machinetime.HANG_S,
    )
    assert (done.returncode, done.stdout) == (status, "")
    assert complained in done.stderr
    assert "sk-secret" not in done.stderr
