"""The file of keys: what it may say, and what no server starts with, or is reloaded with."""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from server.config import keys_edit, keys_file, load as configuration
from tests.server import keyed
from tests.support.process import growth

HASH = "sha256:" + "0a" * 32
OTHER = "sha256:" + "0b" * 32
HOME = {"HOME": "/home/operator"}


def one(**fields: Any) -> bytes:
    """A file with one key of these fields."""
    return json.dumps({"keys": {"alice": {"hashes": [HASH], **fields}}}).encode()


def problem(data: bytes) -> str:
    with pytest.raises(keys_file.KeysFileError) as caught:
        keys_file.parse(data)
    return str(caught.value)


def test_a_key_may_have_everything_or_only_its_hash() -> None:
    assert keys_file.parse(b'{"keys": {}}') == {}
    assert keys_file.parse(one()) == {"alice": keys_file.Key(hashes=[HASH])}
    everything: dict[str, Any] = {
        "models": ["gpt-5.5", "codex-5*"],
        "requests": 60,
        "tokens": 100_000,
        "window_s": 60,
        "tokens_per_day": 1_000_000,
        "streams": 4,
        "created": "2026-01-31T12:00:00Z",
        "expires": "2026-12-31T00:00:00+01:00",
        "note": "the team's nightly job",
    }
    (key,) = keys_file.parse(one(**everything)).values()
    assert key == keys_file.Key(hashes=[HASH], **everything)
    assert key.digests == (b"\x0a" * 32,)
    assert key.expires_at == 1_798_671_600
    assert keys_file.show(key) == (
        "models gpt-5.5,codex-5*, 60 requests in 60 s, 100000 tokens in 60 s, "
        "1000000 tokens a day, 4 streams, expires 2026-12-31T00:00:00+01:00"
    )


def test_a_hash_is_what_every_tool_makes_of_the_key() -> None:
    assert keys_edit.hash_of("sk-1") == f"sha256:{hashlib.sha256(b'sk-1').hexdigest()}"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not JSON"),
        (b"[keys.alice]", "is not JSON"),
        (b"\xff\xfe\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "expected an object"),
        (b"{}", "keys: missing"),
        (b'{"keys": {}, "admin": {}}', "admin: unknown name"),
        (b'{"keys": {"a": {"hashes": ["%s"]}, "a": {}}}' % HASH.encode(), "'a' is in it twice"),
        (b'{"keys": {"a": []}}', "keys.a: expected an object"),
        (b'{"keys": {"a": {}}}', "keys.a.hashes: missing"),
        (one(hashes=[]), "keys.alice.hashes: empty array"),
        (one(hashes=[HASH] * 9), "keys.alice.hashes: array too long"),
        (one(hashes=[HASH, HASH]), "keys.alice has the same key"),
        (one(hashes=[HASH.upper()]), "hashes[0]: expected sha256: and 64 digits"),
        (one(hashes=[HASH + "\n"]), "hashes[0]: expected sha256: and 64 digits"),
        (one(admin=True), "keys.alice.admin: unknown name"),
        (one(requests=0), "keys.alice.requests: integer below minimum value"),
        (one(requests="60"), "keys.alice.requests: expected an integer"),
        (one(tokens=1.5), "keys.alice.tokens: expected an integer"),
        (one(tokens=True), "keys.alice.tokens: expected an integer"),
        (one(tokens_per_day=1 << 60), "integer above maximum value"),
        (one(window_s=86_401), "integer above maximum value"),
        (one(streams=-1), "integer below minimum value"),
        (one(models="gpt-5.5"), "keys.alice.models: expected an array"),
        (one(models=["a b"]), "keys.alice.models[0]: string does not match"),
        (one(models=["a\n"]), "keys.alice.models[0]: string does not match"),
        (one(expires="2026-12-31"), "keys.alice.expires: expected a time with a zone"),
        (one(expires="never"), "keys.alice.expires: expected a time with a zone"),
        (one(note="n" * 257), "keys.alice.note: string too long"),
        (one(requests=int("9" * 4000)), "integer above maximum value"),
        (b'{"keys": {"a": {"hashes": [], "tokens": NaN}}}', "keys.a"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(data: bytes, said: str) -> None:
    assert said in problem(data)


def test_a_key_that_stands_where_its_hash_belongs_is_not_repeated() -> None:
    said = problem(one(hashes=[keyed.secret("alice")]))
    assert keyed.secret("alice") not in said
    assert "hashes[0]" in said


@pytest.mark.parametrize(
    "name", ["", ".a", "-a", "a b", "a/b", "é", "a" * 65, "a\n", "PROXY_ADMIN_KEY", "a\x1b[31m"]
)
def test_a_name_stands_in_lines_and_labels(name: str) -> None:
    assert "name of" in problem(json.dumps({"keys": {name: {"hashes": [HASH]}}}).encode())


def test_one_key_has_one_name() -> None:
    two = {"alice": {"hashes": [OTHER, HASH]}, "bob": {"hashes": [HASH]}}
    said = problem(json.dumps({"keys": two}).encode())
    assert said == "keys.bob.hashes: keys.alice has the same key"


@pytest.mark.parametrize("mode", [0o620, 0o604, 0o602, 0o666, 0o601])
def test_a_file_that_others_may_change_or_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = keyed.write(tmp_path / "keys.json")
    path.chmod(mode)
    with pytest.raises(keys_file.KeysFileError, match=f"has mode {mode:04o}.*chmod 0600"):
        keys_file.load(path)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_a_group_may_read_it(tmp_path: Path, mode: int) -> None:
    path = keyed.write(tmp_path / "keys.json", alice=keyed.held("alice"))
    path.chmod(mode)
    assert list(keys_file.load(path)) == ["alice"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file away")
def test_the_server_of_one_user_takes_no_file_of_another() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        path = keyed.write(Path(directory, "keys.json"))
        path.chmod(0o640)
        os.chown(path, 12345, os.getegid())
        assert keys_file.load(path) == {}  # root may do anything to it as it is
        os.seteuid(23456)
        try:
            with pytest.raises(keys_file.KeysFileError, match="belongs to user 12345"):
                keys_file.load(path)
        finally:
            os.seteuid(0)


def test_what_is_no_file_is_refused_and_waited_for_by_nobody(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path in (tmp_path, pipe, Path("/dev/null")):
        with pytest.raises(keys_file.KeysFileError, match="cannot be read"):
            keys_file.load(path)
    with pytest.raises(keys_file.KeysFileError, match="turntape keys add NAME"):
        keys_file.load(tmp_path / "absent")


def test_a_link_is_followed_as_a_mounted_secret_needs_it(tmp_path: Path) -> None:
    keyed.write(tmp_path / "keys.json", alice=keyed.held("alice"))
    link = tmp_path / "link.json"
    link.symlink_to("keys.json")
    assert list(keys_file.load(link)) == ["alice"]


def test_a_file_without_end_is_not_read(tmp_path: Path) -> None:
    path = keyed.write(tmp_path / "keys.json")
    with path.open("r+b") as file:
        file.truncate(keys_file.FILE_BYTES + 1)
    with pytest.raises(keys_file.KeysFileError, match="has more than"):
        keys_file.load(path)


def test_to_read_it_takes_time_in_proportion_to_its_keys() -> None:
    def prepare(size: int) -> Any:
        data = keys_edit.written(
            {f"k{number}": keyed.held(f"k{number}") for number in range(size)}
        )
        return lambda: keys_file.parse(data)

    growth.check_linear(prepare, 500)


def refusal(environ: dict[str, str]) -> str:
    with pytest.raises(configuration.ConfigError) as caught:
        configuration.load({**HOME, **environ})
    return str(caught.value)


def test_a_file_of_keys_protects_a_server_as_a_key_does(tmp_path: Path) -> None:
    path = keyed.write(tmp_path / "keys.json")
    environ = {"PROXY_API_KEYS_FILE": str(path), "PROXY_HOST": "0.0.0.0"}
    config, warnings = configuration.load({**HOME, **environ})
    assert (config.needs_key, warnings) == (True, [])
    path.write_text("{")
    assert refusal(environ).startswith(f"{path}: is not JSON")


@pytest.mark.parametrize("name", ["PROXY_API_KEY", "PROXY_ADMIN_KEY", "PROXY_METRICS_TOKEN"])
def test_no_named_key_is_a_setting_as_well(tmp_path: Path, name: str) -> None:
    path = keyed.write(tmp_path / "keys.json", alice=keyed.held("alice"))
    environ = {"PROXY_API_KEYS_FILE": str(path), name: keyed.secret("alice")}
    assert refusal(environ) == f"{path}: keys.alice must not be {name}"


def test_a_name_that_is_there_twice_is_found_in_time_in_proportion() -> None:
    members = ",".join(f'"k{number}":1' for number in range(300_000))
    assert problem(f'{{"keys":{{{members},"k299999":1}}}}'.encode()) == "'k299999' is in it twice"
