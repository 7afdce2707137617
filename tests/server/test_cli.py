"""What an operator sees of the command line: exit statuses, messages, and where they go."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import serving


def turntape(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """One command, run to its end, with no settings but the given ones."""
    return subprocess.run(
        (sys.executable, "-m", "server", *arguments),
        cwd=serving.ROOT,
        env={"PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_bad_value_is_named_with_what_is_accepted(tmp_path: Path) -> None:
    failed = turntape("serve", PORT="eighty", PROXY_DATA_DIR=str(tmp_path))
    assert failed.returncode == 2
    assert failed.stderr == (
        "turntape: PORT: 'eighty' is not accepted; it takes a whole number, 0 to 65535\n"
    )


def test_another_host_needs_a_key(tmp_path: Path) -> None:
    failed = turntape("serve", "--host", "0.0.0.0", PROXY_DATA_DIR=str(tmp_path))
    assert failed.returncode == 2
    assert "PROXY_API_KEY" in failed.stderr
    assert not (tmp_path / "log").exists()


def test_serve_without_a_worker_is_codex(tmp_path: Path) -> None:
    failed = turntape("serve", CODEX_BIN="/no/such/codex", PROXY_DATA_DIR=str(tmp_path))
    assert (failed.returncode, failed.stderr) == (
        1,
        "turntape: CODEX_BIN=/no/such/codex: no such program\n",
    )


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        failed = turntape(
            "serve", "--worker", "scripted", "--port", port, PROXY_DATA_DIR=str(tmp_path)
        )
    assert failed.returncode == 1
    last = failed.stderr.splitlines()[-1]
    assert last.startswith("turntape: ")
    assert port in last
    assert "Traceback" not in failed.stderr


def test_a_directory_without_transcripts_is_said(tmp_path: Path) -> None:
    failed = turntape(
        "serve",
        "--worker",
        "scripted",
        PROXY_DATA_DIR=str(tmp_path),
        PROXY_TRANSCRIPTS_DIR=str(tmp_path),
    )
    assert (failed.returncode, failed.stderr) == (1, f"turntape: {tmp_path}: no transcripts\n")


def test_two_servers_do_not_share_a_log(tmp_path: Path) -> None:
    with serving.running("--worker", "scripted", data_dir=tmp_path) as server:
        second = turntape(
            "serve", "--worker", "scripted", "--port", "0", PROXY_DATA_DIR=str(tmp_path)
        )
        assert second.returncode == 1
        assert str(server.log_dir) in second.stderr
        assert "Traceback" not in second.stderr
        assert server.get("/readyz")[0] == 200


def test_config_shows_values_and_sources_and_hides_keys(tmp_path: Path) -> None:
    shown = turntape(
        "config", "--port", "8080", PROXY_API_KEY="sk-very-secret", PROXY_DATA_DIR=str(tmp_path)
    )
    assert shown.returncode == 0
    rows = {line.split()[0]: line for line in shown.stdout.splitlines()}
    assert "8080  (flag)" in rows["PORT"]
    assert "(env)" in rows["PROXY_API_KEY"]
    assert "sk-very-secret" not in shown.stdout
    assert "codex  (default)" in rows["PROXY_WORKER"]


def test_an_unknown_setting_warns_and_starts(tmp_path: Path) -> None:
    shown = turntape("config", PROXY_HOSTT="x", PROXY_DATA_DIR=str(tmp_path))
    assert shown.returncode == 0
    assert shown.stderr == (
        "turntape: warning: PROXY_HOSTT is unknown, did you mean PROXY_HOST?\n"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_server_at_once(number: signal.Signals) -> None:
    with serving.running("--worker", "scripted") as server:
        assert server.stop(number) == 0
        assert server.lines[-1]["event"] == "stopped"


def test_a_replay_of_nothing_is_an_error(tmp_path: Path) -> None:
    missing = turntape("replay", str(tmp_path / "nothing"))
    assert missing.returncode == 1
    assert "nothing" in missing.stderr


def test_inspect_lists_streams_and_prints_one() -> None:
    with serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server:
        body = {"model": "text-short", "messages": [{"role": "user", "content": "x"}]}
        assert server.post(body, {"x-request-id": "mine"})[0] == 200
        server.stop()
        listed = serving.command("inspect", str(server.log_dir))
        one = serving.command("inspect", str(server.log_dir), "--request", "mine")
        replayed = serving.command("replay", str(server.log_dir), "--request", "mine")
        nobody = serving.command("replay", str(server.log_dir), "--request", "theirs")
    assert "mine" in listed.stdout
    assert "completed" in listed.stdout
    steps = one.stdout.splitlines()
    assert steps[0].startswith("stream st_")
    assert "opened" in steps[2]
    assert "terminal" in steps[-1]
    assert replayed.returncode == 0
    assert replayed.stdout.startswith("1 streams")
    assert nobody.returncode == 1


@pytest.mark.codex
def test_the_login_link_is_shown(tmp_path: Path) -> None:
    with subprocess.Popen(
        (sys.executable, "-m", "server", "login"),
        cwd=serving.ROOT,
        env={"PATH": "/usr/bin:/bin", "PROXY_DATA_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as login:
        assert login.stdout is not None
        shown = [login.stdout.readline() for _ in range(3)]
        login.send_signal(signal.SIGINT)
        assert login.wait(timeout=20) == 130
    assert shown[2].strip().startswith("https://auth.openai.com/oauth/authorize?")
