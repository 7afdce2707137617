"""What an operator sees of the command line: exit statuses, messages, and where they go."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import standin
from tests.support.process import measured, serving

pytestmark = pytest.mark.slow


def turntape(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """One command, run to its end, with no settings but the given ones."""
    return subprocess.run(
        (sys.executable, "-m", "server", *arguments),
        cwd=serving.ROOT,
        env={"PATH": "/usr/bin:/bin", **measured.VARIABLES, **environ},
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
        (
            "turntape: CODEX_BIN=/no/such/codex: no such program; "
            "without it the installed one is used\n"
        ),
    )


Prepare = Callable[[Path], tuple[str, str]]
"""Spoils a directory for data; a flag or setting as `NAME=value`, and the reason that is given."""


def a_directory_for_the_store(data: Path) -> tuple[str, str]:
    (data / "responses.sqlite").mkdir()
    return "", f"{data}/responses.sqlite: is not a regular file"


def a_pipe_for_the_store(data: Path) -> tuple[str, str]:
    os.mkfifo(data / "responses.sqlite")
    return "", f"{data}/responses.sqlite: is not a regular file"


def a_link_for_the_lock_of_the_store(data: Path) -> tuple[str, str]:
    (data / "responses.sqlite.lock").symlink_to(data / "elsewhere")
    return "", f"{data}/responses.sqlite.lock: is not a regular file"


def a_file_for_the_data(data: Path) -> tuple[str, str]:
    (data / "file").touch()
    return f"PROXY_DATA_DIR={data}/file", f"{data}/file: File exists"


def a_log_that_cannot_be_made(data: Path) -> tuple[str, str]:
    (data / "file").touch()
    return f"PROXY_LOG_DIR={data}/file/log", f"{data}/file/log: Not a directory"


def a_link_for_a_lock(data: Path) -> tuple[str, str]:
    (data / "log").mkdir()
    (data / "log" / "lock").symlink_to(data / "elsewhere")
    return "", f"{data}/log/lock: is not a regular file"


def a_pipe_for_a_key(data: Path) -> tuple[str, str]:
    (data / "log").mkdir()
    os.mkfifo(data / "log" / "hash.key")
    return "", f"{data}/log/hash.key: is not a regular file"


def a_name_that_steers_a_terminal(data: Path) -> tuple[str, str]:
    (data / "file").touch()
    return f"PROXY_LOG_DIR={data}/file/\x1b[31m", f"{data}/file/\\x1b[31m: Not a directory"


def data_that_cannot_be_written(data: Path) -> tuple[str, str]:
    return "PROXY_DATA_DIR=/sys", "/sys/log: Operation not permitted"


def no_transcripts(data: Path) -> tuple[str, str]:
    return f"PROXY_TRANSCRIPTS_DIR={data}", f"{data}: no transcripts"


def a_host_that_is_not_here(data: Path) -> tuple[str, str]:
    key = "a-key-of-enough-characters"
    wrong = f"PROXY_HOST=192.0.2.1 PROXY_API_KEY={key}"
    return wrong, "192.0.2.1:0: cannot listen: Cannot assign requested address"


@pytest.mark.parametrize(
    "prepare",
    [
        a_directory_for_the_store,
        a_pipe_for_the_store,
        a_link_for_the_lock_of_the_store,
        a_file_for_the_data,
        a_log_that_cannot_be_made,
        a_link_for_a_lock,
        a_pipe_for_a_key,
        a_name_that_steers_a_terminal,
        data_that_cannot_be_written,
        no_transcripts,
        a_host_that_is_not_here,
    ],
)
def test_why_a_start_failed_is_one_line(prepare: Prepare, tmp_path: Path) -> None:
    given, why = prepare(tmp_path)
    wrong = dict(setting.split("=", 1) for setting in given.split())
    environ = {"PROXY_DATA_DIR": str(tmp_path), "PROXY_WORKER": "scripted", "PORT": "0", **wrong}
    failed = turntape("serve", **environ)
    assert (failed.returncode, failed.stdout, failed.stderr) == (1, "", f"turntape: {why}\n")


def test_a_port_in_use_is_said_before_a_worker_is_started(tmp_path: Path) -> None:
    program = standin.install(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        failed = turntape(
            *("serve", "--port", address.partition(":")[2]),
            CODEX_BIN=str(program),
            PROXY_DATA_DIR=str(tmp_path / "data"),
        )
    assert failed.returncode == 1
    assert failed.stderr == f"turntape: {address}: cannot listen: Address already in use\n"
    assert standin.starts(tmp_path) == []


def test_a_codex_home_in_use_is_said(tmp_path: Path) -> None:
    home = tmp_path / "codex-home"
    home.mkdir()
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        failed = turntape(
            *("serve", "--port", "0"),
            CODEX_BIN=str(standin.install(tmp_path)),
            PROXY_DATA_DIR=str(tmp_path),
        )
    assert failed.returncode == 1
    assert failed.stderr == (
        f"turntape: {home}: another server uses it; stop it, or set PROXY_DATA_DIR to another "
        "directory\n"
    )
    assert [path.name for path in home.iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("package", "traced", "why"),
    [
        ("aiohttp", "", "the upstream worker needs the extra of that name"),
        ("opentelemetry", "true", "PROXY_ENABLE_TRACING needs the extra of OpenTelemetry"),
    ],
)
def test_a_part_whose_packages_are_missing_is_said(
    package: str, traced: str, why: str, tmp_path: Path
) -> None:
    program = (
        f"import sys; sys.modules['{package}'] = None; "
        "sys.argv[1:] = ['serve', '--worker', 'upstream']; "
        "from server import program; program.run()"
    )
    failed = subprocess.run(
        (sys.executable, "-c", program),
        cwd=serving.ROOT,
        env={
            "PROXY_DATA_DIR": str(tmp_path),
            "PROXY_UPSTREAM_URL": "http://127.0.0.1:1/v1",
            "PROXY_ENABLE_TRACING": traced,
        },
        capture_output=True,
        text=True,
    )
    extra = "otel" if traced else "upstream"
    assert failed.returncode == 1
    assert failed.stderr == f"turntape: {why}: pip install 'turntape[{extra}]'\n"


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ("[models.x\n", "is not TOML"),
        ('[models.x]\nmodel = "nowhere"\n', "the scripted worker does not know 'nowhere'"),
    ],
)
def test_a_models_file_that_is_wrong_is_a_wrong_setting(
    rules: str, why: str, tmp_path: Path
) -> None:
    path = tmp_path / "models.toml"
    path.write_text(rules)
    failed = turntape(
        *("serve", "--worker", "scripted", "--port", "0", "--models-file", str(path)),
        PROXY_DATA_DIR=str(tmp_path / "data"),
    )
    assert failed.returncode == 2
    (line,) = failed.stderr.splitlines()
    assert line.startswith(f"turntape: {path}: ")
    assert why in line
    assert not (tmp_path / "data").exists()


def test_a_short_key_is_refused_off_loopback_and_warned_of_on_it(tmp_path: Path) -> None:
    data = str(tmp_path)
    refused = turntape("serve", PROXY_HOST="0.0.0.0", PROXY_API_KEY="k" * 15, PROXY_DATA_DIR=data)
    assert refused.returncode == 2
    assert refused.stderr == (
        "turntape: PROXY_API_KEY: must have at least 16 characters to listen on '0.0.0.0'\n"
    )
    warned = turntape("config", PROXY_API_KEY="k", PROXY_DATA_DIR=data)
    assert warned.returncode == 0
    assert warned.stderr == (
        "turntape: warning: PROXY_API_KEY has less than 16 characters: easy to guess\n"
    )


READERS = {
    "config": ("config",),
    "demo": ("demo", "--once", "--port", "0"),
    "help": ("serve", "--help"),
}
"""Commands that say something by themselves."""


@pytest.mark.parametrize("command", READERS)
def test_a_reader_that_has_enough_is_no_failure_of_ours(command: str, tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "PROXY_DATA_DIR": str(tmp_path), **measured.VARIABLES}
    reading, writing = os.pipe()
    with subprocess.Popen(
        (sys.executable, "-m", "server", *READERS[command]),
        cwd=serving.ROOT,
        env=environ,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    ) as ran:
        os.close(reading)
        os.close(writing)
        _, complained = ran.communicate(timeout=60)
    assert (ran.returncode, complained) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize("command", READERS)
def test_output_that_cannot_be_written_is_said(command: str, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(
            (sys.executable, "-m", "server", *READERS[command]),
            cwd=serving.ROOT,
            env={
                "PATH": os.environ["PATH"],
                "PROXY_DATA_DIR": str(tmp_path),
                **measured.VARIABLES,
            },
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (ran.returncode, ran.stderr) == (1, "turntape: No space left on device\n")


@pytest.mark.parametrize("command", [("mock", "--speed", "fast"), ("demo", "--port", "http")])
def test_a_wrong_flag_is_named_as_it_was_typed(command: tuple[str, ...]) -> None:
    failed = turntape(*command)
    assert failed.returncode == 2
    (line,) = failed.stderr.splitlines()
    assert line.startswith(f"turntape: {command[1]}: {command[2]!r} is not accepted")


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
        listed = serving.command("log", str(server.log_dir), "--json")
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
    assert replayed.stdout.startswith("1 stream, ")
    assert nobody.returncode == 3
