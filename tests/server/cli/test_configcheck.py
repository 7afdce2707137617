"""`turntape config --check`: the exit status and the words for a CI job."""

from pathlib import Path

from server.config import keys_edit
from tests.server import keyed
from tests.server.cli.test_command_line import turntape


def check(tmp_path: Path, *arguments: str, **environ: str) -> tuple[int, str, str]:
    """Its exit status, what it says, and what it complains of."""
    done = turntape("config", "--check", *arguments, PROXY_DATA_DIR=str(tmp_path / "d"), **environ)
    return done.returncode, done.stdout, done.stderr


def test_what_is_right_is_told_in_a_line(tmp_path: Path) -> None:
    keys = keyed.write(tmp_path / "keys.json", alice=keyed.held("alice"))
    models = tmp_path / "models.toml"
    models.write_text("[models.mine]\nmodel = 'text-short'\n")
    environ = {"PROXY_API_KEYS_FILE": str(keys), "PROXY_WORKER": "scripted"}
    status, said, complaint = check(tmp_path, "--models-file", str(models), **environ)
    assert (status, complaint) == (0, "")
    assert said == (
        "configuration ok: 4 settings, 1 models, 1 keys; `turntape config` shows each\n"
    )
    assert not (tmp_path / "d").exists()


def test_what_is_wrong_is_named_with_its_file(tmp_path: Path) -> None:
    keys = keyed.write(tmp_path / "keys.json")
    keys.write_text('{"keys": {"a": {}}}')
    models = tmp_path / "models.toml"
    models.write_text("[models.mine]\nmodel = 'no-such'\n")
    for environ, said in (
        ({"PROXY_API_KEYS_FILE": str(keys)}, f"turntape: {keys}: keys.a.hashes: missing\n"),
        ({"PROXY_TIMEOUT_MS": "soon"}, "turntape: PROXY_TIMEOUT_MS: 'soon' is not accepted"),
        (
            {"PROXY_MODELS_FILE": str(models), "PROXY_WORKER": "scripted"},
            f"turntape: {models}: models.mine.model: the scripted worker does not know 'no-such'",
        ),
    ):
        status, out, complaint = check(tmp_path, **environ)
        assert (status, out) == (2, "")
        assert complaint.startswith(said)


def test_warnings_are_told_and_fail_nothing(tmp_path: Path) -> None:
    status, said, complaint = check(tmp_path, PROXY_NO_SUCH="1")
    assert (status, said[:16]) == (0, "configuration ok")
    assert "PROXY_NO_SUCH is unknown" in complaint


def test_where_codex_is_not_there_its_models_are_not_looked_at(tmp_path: Path) -> None:
    models = tmp_path / "models.toml"
    models.write_text("[models.mine]\nmodel = 'gpt-5.5'\n")
    absent = str(tmp_path / "codex")
    status, _, complaint = check(tmp_path, "--models-file", str(models), CODEX_BIN=absent)
    assert status == 0
    assert "Codex is not on this machine" in complaint


def test_a_thousand_keys_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    names = [f"k{number}" for number in range(1000)]
    path.write_bytes(keys_edit.written({name: keyed.held(name) for name in names}))
    path.chmod(0o600)
    assert "1000 keys" in check(tmp_path, PROXY_API_KEYS_FILE=str(path))[1]
