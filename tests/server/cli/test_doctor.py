"""What an operator sees of `turntape doctor`: lines, advice, a status; and no server is hurt."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server.cli import doctor
from server.cli.checks import findings
from tests.support.process import measured, serving
from tests.support.providers.provider import Provider

SECRET = "sk-upstream-0123456789"


def turntape(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """One `turntape doctor`, with no settings but the given ones."""
    return subprocess.run(
        (sys.executable, "-m", "server", "doctor", *arguments),
        cwd=serving.ROOT,
        env={"PATH": os.environ["PATH"], **measured.VARIABLES, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def checks(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """The checks of `--json` by their name."""
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def test_a_line_says_what_was_found_and_the_next_what_to_do() -> None:
    assert list(doctor.lines(findings.ok("disk", "64.2 GiB free at /"))) == [
        "ok    disk      64.2 GiB free at /"
    ]
    assert list(doctor.lines(findings.fail("login", "none", "Run `turntape login`."))) == [
        "FAIL  login     none",
        "                Run `turntape login`.",
    ]


@pytest.mark.parametrize("text", ["a word " * 40, "/a/path/" * 40, "\x1b[31m\n" * 40])
def test_lines_fit_a_terminal_and_steer_none(text: str) -> None:
    shown = list(doctor.lines(findings.warn("log", text, text)))
    assert shown[0].startswith("warn  log       ")
    assert max(map(len, shown)) <= 100
    assert all(line.isprintable() for line in shown)


@pytest.mark.slow
def test_a_deployment_that_is_well_ends_with_0(tmp_path: Path) -> None:
    done = turntape("--worker", "scripted", "--port", "0", PROXY_DATA_DIR=str(tmp_path / "new"))
    assert done.returncode == 0
    assert done.stderr == ""
    *lines, empty, summary = done.stdout.splitlines()
    first = [line for line in lines if not line.startswith(" ")]
    assert all(line.startswith("ok    ") for line in first)
    assert (empty, summary) == ("", f"{len(first)} looked at: 0 wrong, 0 to be watched")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_warnings_end_with_0_and_failures_with_1(tmp_path: Path) -> None:
    given = {"PROXY_DATA_DIR": str(tmp_path), "PROXY_WORKER": "scripted", "PORT": "0"}
    warned = turntape("--json", PROXY_EVNET_LOG="full", **given)
    assert warned.returncode == 0
    assert checks(warned)["config"] == {
        "name": "config",
        "status": "warn",
        "found": "PROXY_EVNET_LOG is unknown, did you mean PROXY_EVENT_LOG?",
        "advice": "`turntape config` shows what is in effect.",
    }
    assert json.loads(warned.stdout)["ok"] is True
    tmp_path.chmod(0o777)
    failed = turntape("--json", **given)
    assert failed.returncode == 1
    assert checks(failed)["data"]["status"] == "fail"
    assert json.loads(failed.stdout)["ok"] is False


@pytest.mark.slow
def test_settings_that_cannot_be_started_with_are_a_failure(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("PORT=eighty\n")
    failed = turntape("--env-file", str(tmp_path / "env"), HOME=str(tmp_path))
    assert failed.returncode == 1
    first, _, rest = failed.stdout.partition("\n")
    assert first == (
        "FAIL  config    PORT: 'eighty' is not accepted; it takes a whole number, 0 to 65535"
    )
    assert "The rest was not looked at." in rest
    assert list(checks(turntape("--json", PORT="eighty", HOME=str(tmp_path)))) == ["config"]


@pytest.mark.slow
def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    done = turntape(
        *("--worker", "upstream"),
        PORT="0",
        PROXY_DATA_DIR=str(tmp_path),
        PROXY_UPSTREAM_URL=f"http://127.0.0.1:{serving.free_port()}/{SECRET}",
        PROXY_UPSTREAM_API_KEY=SECRET,
    )
    assert done.returncode == 1
    assert "FAIL  upstream  " in done.stdout
    assert "********" in done.stdout
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_running_server_is_seen_and_not_disturbed(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with serving.running("--worker", "scripted", data_dir=tmp_path) as server:
        server.post({"model": "text-short", "messages": [{"role": "user", "content": "Hi"}]})
        server.post(
            {
                "model": "provider-error-before-first-token",
                "messages": [{"role": "user", "content": "Hi"}],
            }
        )
        before = server.records()
        done = turntape(
            *("--json", "--worker", "scripted", "--port", server.base.rpartition(":")[2]),
            PROXY_DATA_DIR=str(tmp_path),
        )
        assert server.records() == before
        assert server.get("/readyz")[0] == 200
    report = checks(done)
    assert done.returncode == 0, report
    assert report["port"]["found"].endswith("a running server answers /livez")
    assert report["log"]["found"].endswith(f"process {server.process.pid} writes")
    assert f"for process {server.process.pid}," in report["fds"]["found"]
    assert "upstream_error" in report["failure"]["found"]


@pytest.mark.codex
def test_on_the_real_codex_with_a_provider_that_answers_all_is_well(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with Provider() as provider:
        done = turntape(
            *("--json", "--port", "0"),
            PROXY_DATA_DIR=str(tmp_path),
            PROXY_CODEX_BASE_URL=provider.url,
            PROXY_CODEX_API_KEY=SECRET,
            **{name: os.environ[name] for name in ("CODEX_BIN",) if name in os.environ},
        )
    report = checks(done)
    assert done.returncode == 0, report
    assert {"binary", "version", "login", "provider"} <= report.keys()
    assert SECRET not in done.stdout
