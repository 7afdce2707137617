"""Which login lies in a home, and when it has become another one."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from engine.codex import loginfile
from engine.codex.loginfile import Kind

TOKENS = {"id_token": "secret-i", "access_token": "secret-a", "refresh_token": "secret-r"}
CHATGPT = {"auth_mode": "chatgpt", "OPENAI_API_KEY": None, "tokens": {**TOKENS, "account_id": "a"}}


def put(home: Path, kept: Any) -> loginfile.Login:
    """Write a login, and read it."""
    (home / "auth.json").write_text(json.dumps(kept))
    return loginfile.read(home)


@pytest.mark.parametrize(
    ("kept", "kind"),
    [
        (CHATGPT, Kind.CHATGPT),
        ({"tokens": TOKENS}, Kind.CHATGPT),
        ({"auth_mode": "apikey", "OPENAI_API_KEY": "sk-secret"}, Kind.API_KEY),
        ({"auth_mode": "agentIdentity", "agent_identity": {"id": "x"}}, Kind.OTHER),
        ({"auth_mode": "chatgpt", "OPENAI_API_KEY": None, "tokens": None}, Kind.NONE),
        ({"last_refresh": "2026-01-01"}, Kind.NONE),
        ({}, Kind.NONE),
        ([], Kind.NONE),
    ],
)
def test_a_login_is_of_a_kind_and_shows_no_secret(kept: Any, kind: Kind, tmp_path: Path) -> None:
    found = put(tmp_path, kept)
    assert found.kind is kind
    assert (found == loginfile.NOBODY) is (kind is Kind.NONE)
    assert "secret" not in repr(found)


def test_no_file_is_no_login(tmp_path: Path) -> None:
    assert loginfile.read(tmp_path) == loginfile.NOBODY


def test_fresh_tokens_are_the_same_login_and_another_account_is_not(tmp_path: Path) -> None:
    login = put(tmp_path, CHATGPT)
    fresh = {**CHATGPT, "tokens": {"access_token": "new", "account_id": "a"}, "last_refresh": "x"}
    other = {**CHATGPT, "tokens": {**TOKENS, "account_id": "b"}}
    assert put(tmp_path, fresh) == login
    assert put(tmp_path, other) != login
    keys = [put(tmp_path, {"OPENAI_API_KEY": key}) for key in ("sk-1", "sk-2")]
    assert keys[0] != keys[1]


def test_what_is_no_login_is_said(tmp_path: Path) -> None:
    (tmp_path / "auth.json").write_text("{")
    with pytest.raises(loginfile.Unreadable, match="is no JSON"):
        loginfile.read(tmp_path)
    (tmp_path / "auth.json").write_text('{"a":' * 100_000)
    with pytest.raises(loginfile.Unreadable, match="is no JSON"):
        loginfile.read(tmp_path)
    (tmp_path / "auth.json").unlink()
    os.mkfifo(tmp_path / "auth.json")
    with pytest.raises(loginfile.Unreadable, match="is not a regular file"):
        loginfile.read(tmp_path)


def test_a_login_may_be_a_link_as_mounted_secrets_are(tmp_path: Path) -> None:
    (tmp_path / "mounted").write_text(json.dumps(CHATGPT))
    (tmp_path / "auth.json").symlink_to("mounted")
    assert loginfile.read(tmp_path).kind is Kind.CHATGPT


def test_a_watch_tells_when_the_file_was_written(tmp_path: Path) -> None:
    watch = loginfile.Watch(tmp_path)
    assert watch.look()
    assert not watch.look()
    assert watch.login == loginfile.NOBODY
    login = put(tmp_path, CHATGPT)
    assert watch.look()
    assert watch.login == login
    assert not watch.look()
    (tmp_path / "auth.json").unlink()
    assert watch.look()
    assert watch.login == loginfile.NOBODY


def test_a_half_written_file_leaves_the_login_as_it_was(tmp_path: Path) -> None:
    watch = loginfile.Watch(tmp_path)
    login = put(tmp_path, CHATGPT)
    watch.look()
    (tmp_path / "auth.json").write_text('{"auth_mode": "chat')
    assert not watch.look()
    assert watch.login == login
    put(tmp_path, {**CHATGPT, "last_refresh": "x"})
    assert watch.look()
    assert watch.login == login


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_directory_in_its_place_is_no_login_however_often_it_is_looked_at(
    tmp_path: Path,
) -> None:
    # As a container has it that mounts a file which is not there.
    (tmp_path / "auth.json").mkdir()
    watch = loginfile.Watch(tmp_path)
    before = descriptors()
    for _ in range(10):
        assert not watch.look()
    assert descriptors() == before
    with pytest.raises(IsADirectoryError):
        loginfile.read(tmp_path)
