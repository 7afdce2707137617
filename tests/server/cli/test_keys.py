"""`turntape keys`: what an operator types, what it prints, and what a server makes of it."""

import contextlib
import io
import json
import signal
import stat
from pathlib import Path
from typing import NamedTuple

import pytest

from server import diagnostics
from server.cli import command_line as cli
from server.config import keys_edit, keys_file
from tests.server import plain
from tests.support.process import machinetime, serving


class Done(NamedTuple):
    """A command that has run: its status and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of keys that the environment names."""
    path = tmp_path / "keys.json"
    monkeypatch.setenv("PROXY_API_KEYS_FILE", str(path))
    monkeypatch.setenv("PROXY_DATA_DIR", str(tmp_path / "data"))
    return path


def turntape(*arguments: str) -> Done:
    """One command in this process; its complaints are in order with the diagnostics."""
    said: list[str] = []
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(diagnostics, "say", said.append)
        status = cli.main(arguments)
    return Done(status, out.getvalue(), "\n".join(said))


def added(*arguments: str) -> str:
    """The key that was made."""
    done = turntape("keys", "add", *arguments)
    assert done.status == 0, done
    (key,) = done.out.splitlines()
    assert key not in done.err
    return key


pytestmark = pytest.mark.usefixtures("diagnostics_as_before")


def test_a_key_is_printed_once_and_its_hash_kept(path: Path) -> None:
    key = added("alice", "--models", "gpt-5.5, codex-5*", "--requests", "60", "--tokens", "9")
    assert key not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (kept,) = keys_file.load(path).values()
    assert kept.hashes == [keys_edit.hash_of(key)]
    assert (kept.models, kept.requests, kept.tokens) == (["gpt-5.5", "codex-5*"], 60, 9)
    assert kept.created is not None
    done = turntape("keys", "add", "bob")
    assert "SIGHUP" in done.err
    assert str(path) in done.err


def test_names_in_use_are_replaced_only_where_that_is_meant(path: Path) -> None:
    old = added("alice", "--streams", "2", "--note", "nightly")
    refused = turntape("keys", "add", "alice")
    assert (refused.status, refused.out) == (2, "")
    assert "--replace" in refused.err
    absent = turntape("keys", "add", "alcie", "--replace")
    assert (absent.status, absent.err) == (
        2,
        "turntape: there is no key 'alcie'; did you mean alice?",
    )
    new = added("alice", "--replace", "--keep-old", "--expires", "90d")
    (kept,) = keys_file.load(path).values()
    assert kept.hashes == [keys_edit.hash_of(new), keys_edit.hash_of(old)]
    assert (kept.streams, kept.note) == (2, "nightly")
    assert kept.expires is not None
    assert turntape("keys", "revoke", "alice", "--old").status == 0
    assert keys_file.load(path)["alice"].hashes == [keys_edit.hash_of(new)]


def test_a_revoked_name_is_gone(path: Path) -> None:
    added("alice")
    added("bob")
    assert turntape("keys", "revoke", "alice").status == 0
    assert list(keys_file.load(path)) == ["bob"]
    assert turntape("keys", "revoke", "alice").status == 2


def test_the_list_shows_no_hash(path: Path) -> None:
    added("alice", "--tokens-per-day", "1000", "--window-s", "5", "--note", "a \x1b[31mnote")
    added("old", "--expires", "2020-01-01T00:00:00Z")
    listed = turntape("keys", "list").out
    assert "alice  all models, 1000 tokens a day" in listed
    assert "EXPIRED" in listed
    assert "\x1b" not in listed
    found = json.loads(turntape("keys", "list", "--json").out)["keys"]
    assert found["alice"]["tokens_per_day"] == 1000
    assert "sha256" not in listed + json.dumps(found)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "a b"), "is no name of a key"),
        (("add", "../x"), "is no name of a key"),
        (("add", "PROXY_ADMIN_KEY"), "operator's key"),
        (("add", "a", "--requests", "0"), "integer below minimum"),
        (("add", "a", "--requests", "many"), "invalid int value"),
        (("add", "a", "--expires", "soon"), "expected a time with a zone"),
        (("add", "a", "--expires", "0d"), "expected a time with a zone"),
        (("add", "a", "--models", "a b"), "string does not match"),
        (("revoke", "nobody"), "there is no key 'nobody'"),
        (("rm", "a"), "invalid choice"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(
    path: Path, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    added("alice")
    before = path.read_bytes()
    done = turntape("keys", *arguments)
    assert (done.status, done.out) == (2, "")
    assert said in done.err + capsys.readouterr().err
    assert path.read_bytes() == before


def test_where_no_file_is_named_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROXY_API_KEYS_FILE", raising=False)
    done = turntape("keys", "list")
    assert done.status == 2
    assert "PROXY_API_KEYS_FILE: must be set, or --keys-file given" in done.err


def test_the_env_file_and_the_flag_name_it_too(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROXY_API_KEYS_FILE")
    env_file = tmp_path / "env"
    env_file.write_text(f"PROXY_API_KEYS_FILE={path}\nPROXY_TIMEOUT_MS=wrong\n")
    added("alice", "--env-file", str(env_file))
    assert "alice" in turntape("keys", "list", "--keys-file", str(path)).out


@pytest.mark.usefixtures("hangup_by_default")
def test_a_running_server_takes_a_key_over(path: Path, tmp_path: Path) -> None:
    added("bob")
    with serving.running(
        "--worker",
        "scripted",
        data_dir=tmp_path / "data",
        PROXY_SCRIPTED_SPEED="0",
        PROXY_API_KEYS_FILE=str(path),
    ) as server:
        done = turntape("keys", "add", "alice")
        assert f"kill -HUP {server.process.pid}" in done.err

        def status() -> int:
            return plain.chat(server, authorization=f"Bearer {done.out.strip()}").status

        assert status() == 401
        server.process.send_signal(signal.SIGHUP)
        machinetime.until(lambda: status() == 200)
        assert turntape("keys", "revoke", "alice").status == 0
        server.process.send_signal(signal.SIGHUP)
        machinetime.until(lambda: status() == 401)


def test_a_file_that_cannot_be_used_is_named(path: Path) -> None:
    absent = turntape("keys", "list")
    assert (absent.status, absent.out) == (2, "")
    assert f"{path}: is not there" in absent.err
    path.write_text("{")
    path.chmod(0o600)
    for done in (turntape("keys", "list"), turntape("keys", "add", "alice")):
        assert (done.status, done.out) == (2, "")
        assert f"{path}: is not JSON" in done.err


def test_a_key_for_no_model_says_so(path: Path) -> None:
    added("alice", "--models", "")
    assert turntape("keys", "list").out == "alice  models none\n"
