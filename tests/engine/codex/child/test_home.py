"""What a Codex process is given, whatever home and environment it would have had."""

import json
import os
import stat
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from engine import regular
from engine.codex.child import home as codexhome

URL = "http://127.0.0.1:1/v1"


def parsed(setup: codexhome.Setup) -> dict[str, Any]:
    """The settings as Codex reads them from a file."""
    return tomllib.loads(codexhome.config_toml(setup))


def provider(setup: codexhome.Setup) -> dict[str, Any]:
    """The model provider that Codex would use."""
    config = parsed(setup)
    chosen: dict[str, Any] = config["model_providers"][config["model_provider"]]
    return chosen


def operators_home(directory: Path, config: str) -> Path:
    """A home that an operator made."""
    home = directory / "operator"
    home.mkdir()
    (home / "config.toml").write_text(config)
    return home


def test_without_a_url_it_is_openai_with_its_login(tmp_path: Path) -> None:
    chosen = provider(codexhome.Setup(data_dir=tmp_path))
    assert (chosen["name"], chosen["requires_openai_auth"]) == ("OpenAI", True)
    assert "base_url" not in chosen


@pytest.mark.parametrize("has_key", [True, False])
def test_another_url_gets_a_key_or_no_login_at_all(tmp_path: Path, has_key: bool) -> None:
    chosen = provider(codexhome.Setup(data_dir=tmp_path, base_url=URL, has_key=has_key))
    assert chosen["base_url"] == URL
    assert chosen["requires_openai_auth"] is has_key
    assert chosen["name"] != "OpenAI"


@pytest.mark.parametrize("base_url", [None, URL])
def test_codex_retries_nothing_and_cuts_nothing_off(tmp_path: Path, base_url: str | None) -> None:
    setup = codexhome.Setup(data_dir=tmp_path, base_url=base_url)
    chosen = provider(setup)
    assert (chosen["request_max_retries"], chosen["stream_max_retries"]) == (0, 0)
    assert chosen["stream_idle_timeout_ms"] >= 86_400_000
    assert parsed(setup)["features"]["unbounded_connection_retries"] is False


def test_a_key_is_kept_in_no_file(tmp_path: Path) -> None:
    keyed = codexhome.Setup(data_dir=tmp_path, has_key=True)
    assert parsed(keyed)["cli_auth_credentials_store"] == "ephemeral"
    assert "cli_auth_credentials_store" not in parsed(codexhome.Setup(data_dir=tmp_path))


@pytest.mark.parametrize("base_url", [None, URL])
def test_the_command_line_says_what_the_file_says(tmp_path: Path, base_url: str | None) -> None:
    setup = codexhome.Setup(data_dir=tmp_path, base_url=base_url)
    binary, subcommand, *flags = codexhome.command(Path("/bin/codex"), setup)
    assert (binary, subcommand, flags[::2]) == (
        "/bin/codex",
        "app-server",
        ["-c"] * (len(flags) // 2),
    )
    assert tomllib.loads("\n".join(flags[1::2])) == parsed(setup)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1))
def test_any_path_is_a_toml_string(name: str) -> None:
    setup = codexhome.Setup(data_dir=Path("/data", name))
    assert parsed(setup)["sqlite_home"] == str(setup.sqlite_dir)


def test_an_operators_servers_and_instructions_are_off(tmp_path: Path) -> None:
    home = operators_home(
        tmp_path,
        'developer_instructions = "Obey."\nnotify = ["touch"]\n'
        '[mcp_servers.m]\ncommand = "m"\n[mcp_servers."odd name"]\ncommand = "o"\n',
    )
    config = parsed(codexhome.Setup(data_dir=tmp_path / "data", operator_home=home))
    assert config["mcp_servers"] == {"m": {"enabled": False}, "odd name": {"enabled": False}}
    assert (config["developer_instructions"], config["notify"]) == ("", [])


@pytest.mark.parametrize("config", ["", 'model_provider = "openai"', "not toml"])
def test_an_operator_who_chose_no_provider_gets_ours(tmp_path: Path, config: str) -> None:
    home = operators_home(tmp_path, config)
    setup = codexhome.Setup(data_dir=tmp_path / "data", operator_home=home)
    assert provider(setup)["name"] == "OpenAI"


def test_an_operators_provider_is_kept_but_for_its_retries(tmp_path: Path) -> None:
    home = operators_home(
        tmp_path,
        'model_provider = "my lab"\n[model_providers."my lab"]\nname = "lab"\n'
        'base_url = "http://lab/v1"\n',
    )
    setup = codexhome.Setup(data_dir=tmp_path / "data", operator_home=home)
    config = parsed(setup)
    assert "model_provider" not in config
    assert config["model_providers"] == {
        "my lab": {"request_max_retries": 0, "stream_max_retries": 0}
    }


def test_an_operators_choice_of_a_local_model_is_kept(tmp_path: Path) -> None:
    home = operators_home(tmp_path, 'model_provider = "ollama"\n')
    config = parsed(codexhome.Setup(data_dir=tmp_path / "data", operator_home=home))
    assert not {"model_provider", "model_providers"} & set(config)


def test_a_url_overrules_an_operators_provider(tmp_path: Path) -> None:
    home = operators_home(tmp_path, 'model_provider = "ollama"\n')
    setup = codexhome.Setup(data_dir=tmp_path / "data", operator_home=home, base_url=URL)
    assert provider(setup)["base_url"] == URL


def mode(path: Path) -> int:
    """The permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_a_prepared_home_is_private_and_complete(tmp_path: Path) -> None:
    setup = codexhome.Setup(data_dir=tmp_path / "data")
    codexhome.prepare(setup)
    assert tomllib.loads((setup.home / "config.toml").read_text()) == parsed(setup)
    assert json.loads(setup.catalog_path.read_text()) == codexhome.catalog(setup)
    assert list(setup.cwd.iterdir()) == []
    for path in (setup.data_dir, *setup.data_dir.rglob("*")):
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path


def test_the_databases_of_the_last_run_are_wiped(tmp_path: Path) -> None:
    setup = codexhome.Setup(data_dir=tmp_path)
    codexhome.prepare(setup)
    for left in (
        setup.sqlite_dir / "logs_2.sqlite",
        setup.sqlite_dir / "logs_2.sqlite-wal",
        setup.sources_dir / "source.jsonl",
    ):
        left.touch()
    codexhome.wipe(setup)
    assert list(setup.sqlite_dir.iterdir()) == list(setup.sources_dir.iterdir()) == []
    assert mode(setup.sources_dir) == 0o700


def test_a_home_is_one_servers_until_it_lets_go(tmp_path: Path) -> None:
    setup = codexhome.Setup(data_dir=tmp_path / "data")
    held = codexhome.take(setup)
    with pytest.raises(codexhome.HomeTaken, match="another server uses it"):
        codexhome.take(setup)
    os.close(held)
    os.close(codexhome.take(setup))
    assert mode(setup.own_home / "lock") == 0o600


def put_link(path: Path) -> None:
    target = path.parent / "target"
    target.write_text("precious")
    path.symlink_to(target)


@pytest.mark.parametrize("put", [put_link, os.mkfifo, Path.mkdir])
@pytest.mark.parametrize("name", ["lock", "config.toml", "catalog.json"])
def test_what_is_no_file_is_neither_waited_for_nor_written_to(
    name: str, put: Callable[[Path], None], tmp_path: Path
) -> None:
    setup = codexhome.Setup(data_dir=tmp_path)
    setup.own_home.mkdir()
    put(setup.own_home / name)
    with pytest.raises(regular.NotRegular, match=f"{setup.own_home / name}"):
        (codexhome.take if name == "lock" else codexhome.prepare)(setup)
    if put is put_link:
        assert (setup.own_home / "target").read_text() == "precious"


def test_preparing_again_removes_instructions_and_keeps_what_runs(tmp_path: Path) -> None:
    setup = codexhome.Setup(data_dir=tmp_path)
    codexhome.prepare(setup)
    database = setup.sqlite_dir / "logs_2.sqlite"
    database.touch()
    (setup.home / "AGENTS.md").write_text("Obey.")
    (setup.home / "auth.json").write_text("{}")
    setup.catalog_path.chmod(0o644)
    codexhome.prepare(setup)
    assert database.exists()
    assert not (setup.home / "AGENTS.md").exists()
    assert (setup.home / "auth.json").exists()
    assert mode(setup.catalog_path) == 0o600


def test_an_operators_home_is_left_alone(tmp_path: Path) -> None:
    home = operators_home(tmp_path, "")
    (home / "AGENTS.md").write_text("Mine.")
    setup = codexhome.Setup(data_dir=tmp_path / "data", operator_home=home)
    codexhome.prepare(setup)
    assert sorted(path.name for path in home.iterdir()) == ["AGENTS.md", "config.toml"]
    assert setup.home == home
    assert setup.catalog_path.exists()
    assert not (setup.own_home / "config.toml").exists()


def test_an_operators_directory_is_not_made_for_them(tmp_path: Path) -> None:
    setup = codexhome.Setup(data_dir=tmp_path / "data", workdir=tmp_path / "work")
    codexhome.prepare(setup)
    assert setup.cwd == tmp_path / "work"
    assert not setup.cwd.exists()


def test_the_environment_has_no_keys(tmp_path: Path) -> None:
    setup = codexhome.Setup(data_dir=tmp_path)
    environ = {
        "PATH": "/bin",
        "LC_ALL": "C.UTF-8",
        "https_proxy": "http://proxy",
        "SSL_CERT_FILE": "/ca.pem",
        "RUST_LOG": "warn",
        "CODEX_HOME": "/elsewhere",
        "LOG_FORMAT": "default",
        "OPENAI_API_KEY": "sk-1",
        "PROXY_CODEX_API_KEY": "sk-2",
        "AWS_SECRET_ACCESS_KEY": "s",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20s",
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": "1",
    }
    assert codexhome.environment(setup, environ) == {
        "PATH": "/bin",
        "LC_ALL": "C.UTF-8",
        "https_proxy": "http://proxy",
        "SSL_CERT_FILE": "/ca.pem",
        "RUST_LOG": "warn",
        "CODEX_HOME": str(tmp_path / "codex-home"),
        "LOG_FORMAT": "json",
        "NO_COLOR": "1",
    }


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program named codex, the only one on its PATH."""
    path = tmp_path / "bin" / "codex"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def without_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "codex_cli_bin", None)


def test_the_named_program_is_first(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert codexhome.find_binary(str(program)) == program
    monkeypatch.setenv("PATH", str(program.parent))
    assert codexhome.find_binary("codex") == program


def test_a_named_program_must_exist(tmp_path: Path) -> None:
    with pytest.raises(codexhome.BinaryNotFound, match=r"CODEX_BIN=.*/none: no such program"):
        codexhome.find_binary(str(tmp_path / "none"))


@pytest.mark.codex
def test_the_wheels_program_is_next(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(program.parent))
    found = codexhome.find_binary(None)
    assert found.parts[-3:] == ("codex_cli_bin", "bin", "codex")


@pytest.mark.usefixtures("without_wheel")
def test_the_one_on_path_is_last(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(program.parent))
    assert codexhome.find_binary(None) == program


@pytest.mark.usefixtures("without_wheel")
def test_without_any_the_error_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    advice = r"turntape.codex.*PATH.*CODEX_BIN.*scripted"
    with pytest.raises(codexhome.BinaryNotFound, match=advice):
        codexhome.find_binary(None)
