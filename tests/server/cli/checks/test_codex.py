"""The doctor's look at Codex: the program, its version, its login."""

import json
import os
from pathlib import Path

import pytest

from engine.codex.protocol import appserver
from server.cli.checks import codex
from server.cli.checks.findings import Finding, Status
from tests.server.cli.checks import checking
from tests.support.process import codexbinary

SECRET = "sk-of-nobody-0123456789"


def look(tmp_path: Path, **environ: str) -> dict[str, Finding]:
    """The findings about Codex."""
    config = checking.config(tmp_path, PROXY_WORKER="codex", **environ)
    return checking.by_name(codex.check(config, os.environ))


def program(tmp_path: Path, *lines: str) -> str:
    """A program of these lines of a shell."""
    path = tmp_path / "codex"
    path.write_text("\n".join(("#!/bin/sh", *lines)))
    path.chmod(0o700)
    return str(path)


def test_no_program_is_a_failure_that_says_where_one_is_from(tmp_path: Path) -> None:
    found = look(tmp_path, CODEX_BIN="/no/such/codex")["binary"]
    assert found.status is Status.FAIL
    assert "CODEX_BIN=/no/such/codex: no such program" in found.advice


@pytest.mark.parametrize(
    ("said", "status", "found"),
    [
        ("codex-cli 0.162.9", Status.FAIL, "0.162.9, older than 0.163.0"),
        (f"codex-cli {appserver.SCHEMA_PIN}", Status.OK, f"{appserver.SCHEMA_PIN}, as tested"),
        ("codex-cli 9.0.1", Status.WARN, f"9.0.1, newer than the tested {appserver.SCHEMA_PIN}"),
        ("welcome", Status.FAIL, "--version ended with 0: 'welcome\\n'"),
    ],
)
def test_its_version_is_asked(tmp_path: Path, said: str, status: Status, found: str) -> None:
    report = look(tmp_path, CODEX_BIN=program(tmp_path, f"echo '{said}'"))
    assert report["binary"].found == f"{tmp_path}/codex (by CODEX_BIN)"
    assert (report["version"].status, report["version"].found) == (status, found)
    assert (report["version"].advice == "") is (status is Status.OK)


def test_a_program_that_fails_or_cannot_run_is_a_failure(tmp_path: Path) -> None:
    failed = look(tmp_path, CODEX_BIN=program(tmp_path, "exit 3"))["version"]
    assert (failed.status, failed.found) == (Status.FAIL, "--version ended with 3: ''")
    Path(program(tmp_path)).write_bytes(b"\x7fELF")
    broken = look(tmp_path, CODEX_BIN=str(tmp_path / "codex"))["version"]
    assert (broken.status, broken.found) == (
        Status.FAIL,
        "it cannot be run: Exec format error",
    )


def test_a_program_that_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codex, "ASK_LIMIT_S", 0.2)
    hung = look(tmp_path, CODEX_BIN=program(tmp_path, "exec sleep 60"))["version"]
    assert hung.status is Status.FAIL
    assert hung.found.startswith("no answer to --version")


def test_what_the_program_writes_is_in_no_home_of_the_server(tmp_path: Path) -> None:
    home = tmp_path / "data" / "codex-home"
    home.mkdir(parents=True)
    writes = program(tmp_path, 'echo x >"$CODEX_HOME/x"; echo 0.163.0')
    assert look(tmp_path / "data", CODEX_BIN=writes)["version"].status is Status.OK
    assert list(home.iterdir()) == []


def login(tmp_path: Path, kept: object, **environ: str) -> Finding:
    """The finding about a login of which this is kept."""
    home = tmp_path / "codex-home"
    home.mkdir(exist_ok=True)
    (home / "auth.json").write_text(kept if isinstance(kept, str) else json.dumps(kept))
    return look(tmp_path, CODEX_BIN="/no/such/codex", **environ)["login"]


@pytest.mark.parametrize(
    ("kept", "kind"),
    [
        ({"tokens": {"access_token": SECRET}, "OPENAI_API_KEY": None}, "ChatGPT"),
        ({"OPENAI_API_KEY": SECRET}, "an API key"),
    ],
)
def test_a_login_is_named_and_not_shown(tmp_path: Path, kept: object, kind: str) -> None:
    found = login(tmp_path, kept)
    assert (found.status, found.found) == (
        Status.OK,
        f"{kind}, in {tmp_path}/codex-home/auth.json",
    )
    assert SECRET not in str(found)


@pytest.mark.parametrize("kept", [{}, {"tokens": None}, [], "{"])
def test_a_file_without_a_login_is_a_failure(tmp_path: Path, kept: object) -> None:
    found = login(tmp_path, kept)
    assert found.status is Status.FAIL
    assert "turntape login" in found.advice


def test_no_login_is_a_failure(tmp_path: Path) -> None:
    found = look(tmp_path, CODEX_BIN="/no/such/codex")["login"]
    assert (found.status, found.found) == (Status.FAIL, f"none in {tmp_path}/codex-home")
    assert "turntape login" in found.advice


def test_a_login_that_is_a_pipe_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "codex-home").mkdir()
    os.mkfifo(tmp_path / "codex-home" / "auth.json")
    found = look(tmp_path, CODEX_BIN="/no/such/codex")["login"]
    assert found.status is Status.FAIL
    assert "is not a regular file" in found.found


def test_a_key_or_a_provider_of_ones_own_needs_no_login(tmp_path: Path) -> None:
    missing = {"CODEX_BIN": "/no/such/codex"}
    with_key = look(tmp_path, PROXY_CODEX_API_KEY=SECRET, **missing)["login"]
    assert with_key.status is Status.OK
    assert SECRET not in str(with_key)
    assert look(tmp_path, PROXY_CODEX_BASE_URL="http://x", **missing)["login"].status is Status.OK
    home = tmp_path / "theirs"
    home.mkdir()
    (home / "config.toml").write_text('model_provider = "own"\n[model_providers.own]\nname = "x"')
    theirs = look(tmp_path, CODEX_HOME=str(home), **missing)["login"]
    assert theirs.found == f"that of the provider in {home}/config.toml"


def test_a_codex_that_is_off_is_a_warning_and_another_worker_none(tmp_path: Path) -> None:
    off = look(tmp_path, PROXY_USE_APP_SERVER="false")
    assert [each.status for each in off.values()] == [Status.WARN]
    assert list(codex.check(checking.config(tmp_path), os.environ)) == []


@pytest.mark.codex
def test_the_real_program_says_its_version(tmp_path: Path) -> None:
    report = look(tmp_path, CODEX_BIN=str(codexbinary.path()))
    version = ".".join(map(str, codexbinary.version()))
    assert report["version"].found.startswith(version)
    assert report["version"].status in (Status.OK, Status.WARN)
