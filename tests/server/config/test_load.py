"""What an operator's flags, environment and env file make of the settings."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from server.config import load as configuration, settings, values

ROOT = Path(__file__).parents[3]
HOME = {"HOME": "/home/operator"}
KEY = "a-key-of-the-operator"

DEFAULTS: dict[str, Any] = {
    "port": 11435,
    "host": "127.0.0.1",
    "api_key": None,
    "api_keys_file": None,
    "admin_key": None,
    "trusted_proxies": (),
    "env": None,
    "worker": "codex",
    "models_file": None,
    "models": {},
    "keys": {},
    "use_app_server": True,
    "data_dir": Path("/home/operator/.local/state/turntape"),
    "codex_bin": None,
    "codex_home": None,
    "codex_model": "gpt-5.5",
    "codex_models": (),
    "codex_base_url": None,
    "codex_api_key": None,
    "auth_login_url": "false",
    "auth_login_url_mode": "message",
    "codex_workdir": None,
    "sandbox_mode": "read-only",
    "approval_policy": "never",
    "upstream_url": None,
    "upstream_api_key": None,
    "upstream_headers": (),
    "empty_upstream": "empty",
    "worker_count": 1,
    "worker_max_concurrency": 64,
    "worker_startup_timeout_ms": 15000,
    "worker_handshake_timeout_ms": 15000,
    "worker_request_timeout_ms": 10000,
    "worker_shutdown_grace_ms": 5000,
    "worker_hang_timeout_ms": 15_000,
    "worker_backoff_initial_ms": 500,
    "worker_backoff_max_ms": 5000,
    "worker_exit": "length",
    "head_hold_ms": 30000,
    "first_chunk_timeout_ms": 300000,
    "stream_idle_timeout_ms": 300000,
    "timeout_ms": 0,
    "finish_grace_ms": 1000,
    "sse_keepalive_ms": 15000,
    "nonstream_truncate_after_ms": 0,
    "latency_budget_ms": 0,
    "drain_delay_ms": 0,
    "drain_timeout_ms": 20000,
    "maintenance_mode": False,
    "max_body_bytes": 16777216,
    "max_prompt_tokens": 0,
    "max_chat_choices": 5,
    "max_input_items": 16384,
    "max_tool_calls": 1024,
    "sse_max_concurrency": 0,
    "rate_limit_enabled": False,
    "rate_limit_window_ms": 60000,
    "rate_limit_max": 60,
    "test_endpoints": False,
    "protect_models": False,
    "enable_cors": True,
    "cors_allowed_origins": ("app://obsidian.md",),
    "output_mode": "auto",
    "responses_output_mode": "openai-json",
    "enable_responses": True,
    "enable_websockets": True,
    "websocket_idle_ms": 600000,
    "websocket_max_age_ms": 3600000,
    "enable_parallel_tool_calls": True,
    "stop_after_tools": False,
    "stop_after_tools_mode": "burst",
    "stop_after_tools_grace_ms": 300,
    "tool_block_max": 0,
    "tool_block_dedup": False,
    "tool_block_delimiter": None,
    "suppress_tail_after_tools": "auto",
    "park_ttl_ms": 300000,
    "park_max": 64,
    "event_log": "masked",
    "log_dir": Path("/home/operator/.local/state/turntape/log"),
    "log_fsync": "interval",
    "log_segment_bytes": 67108864,
    "log_max_bytes": 1073741824,
    "log_max_streams": 0,
    "log_compress_age_s": 600,
    "log_max_age_s": 604800,
    "log_on_error": "continue",
    "log_summary_age_s": 90 * 86_400,
    "log_summary_max_bytes": 256 << 20,
    "usage_allow_unauth": False,
    "store": "sqlite",
    "store_ttl_s": 2592000,
    "store_max_bytes": 1073741824,
    "log_level": "info",
    "log_format": "auto",
    "log_access_sample": 1,
    "enable_metrics": True,
    "metrics_token": None,
    "metrics_allow_loopback": True,
    "metrics_allow_unauth": False,
    "enable_request_metrics": False,
    "enable_tracing": False,
    "tracing_conventions": "gen-ai-0.1.0",
    "transcripts_dir": ROOT / "transcripts",
    "scripted_transcript": None,
    "scripted_speed": 1.0,
    "reuse_max": 64,
    "reuse_ttl_ms": 900_000,
    "fork_threads": True,
    "sources": {},
}


def load(environ: Mapping[str, str] | None = None, **flags: str) -> configuration.Config:
    """Settings that give no reason for a warning."""
    loaded, warnings = configuration.load({**HOME, **(environ or {})}, flags)
    assert warnings == []
    return loaded


def refusal(environ: Mapping[str, str], **flags: str) -> str:
    with pytest.raises(configuration.ConfigError) as caught:
        configuration.load({**HOME, **environ}, flags)
    return str(caught.value)


def warnings_of(environ: Mapping[str, str]) -> list[str]:
    return configuration.load({**HOME, **environ})[1]


def rows(loaded: configuration.Config) -> dict[str, configuration.Row]:
    return {row.name: row for row in configuration.describe(loaded)}


def test_defaults() -> None:
    loaded = load()
    assert {name: getattr(loaded, name) for name in loaded.__struct_fields__} == DEFAULTS


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("PORT", "0", "port", 0),
        ("PORT", " 8080 ", "port", 8080),
        ("PROXY_USE_APP_SERVER", "False", "use_app_server", False),
        ("PROXY_USE_APP_SERVER", "no", "use_app_server", False),
        ("PROXY_USE_APP_SERVER", "0", "use_app_server", False),
        ("PROXY_PROTECT_MODELS", "TRUE", "protect_models", True),
        ("PROXY_PROTECT_MODELS", "yes", "protect_models", True),
        ("PROXY_PROTECT_MODELS", "1", "protect_models", True),
        ("PROXY_EVENT_LOG", "Full", "event_log", "full"),
        ("PROXY_HEAD_HOLD_MS", "0", "head_hold_ms", 0),
        ("PROXY_MAX_BODY_BYTES", "1000", "max_body_bytes", 1000),
        ("PROXY_MAX_BODY_BYTES", "64KiB", "max_body_bytes", 65536),
        ("PROXY_MAX_BODY_BYTES", "2 mib", "max_body_bytes", 2097152),
        ("PROXY_LOG_MAX_BYTES", "3 GiB", "log_max_bytes", 3221225472),
        ("PROXY_LOG_MAX_BYTES", "0", "log_max_bytes", 0),
        ("PROXY_SCRIPTED_SPEED", "2.5", "scripted_speed", 2.5),
        ("PROXY_SCRIPTED_SPEED", "0", "scripted_speed", 0.0),
        ("PROXY_CODEX_MODELS", "a, b,,c", "codex_models", ("a", "b", "c")),
        ("PROXY_CODEX_BASE_URL", "http://[::1]:8/v1", "codex_base_url", "http://[::1]:8/v1"),
        ("PROXY_CORS_ALLOWED_ORIGINS", "*", "cors_allowed_origins", ("*",)),
        (
            "PROXY_CORS_ALLOWED_ORIGINS",
            "http://localhost:3000,app://obsidian.md",
            "cors_allowed_origins",
            ("http://localhost:3000", "app://obsidian.md"),
        ),
        ("PROXY_OUTPUT_MODE", "obsidian-xml", "output_mode", "obsidian-xml"),
        ("PROXY_RESPONSES_OUTPUT_MODE", "auto", "responses_output_mode", "auto"),
        ("PROXY_ENABLE_RESPONSES", "false", "enable_responses", False),
        ("PROXY_STOP_AFTER_TOOLS", "true", "stop_after_tools", True),
        ("PROXY_STOP_AFTER_TOOLS_MODE", "first", "stop_after_tools_mode", "first"),
        ("PROXY_STOP_AFTER_TOOLS_GRACE_MS", "0", "stop_after_tools_grace_ms", 0),
        ("PROXY_TOOL_BLOCK_MAX", "3", "tool_block_max", 3),
        ("PROXY_TOOL_BLOCK_DEDUP", "true", "tool_block_dedup", True),
        ("PROXY_TOOL_BLOCK_DELIMITER", "---", "tool_block_delimiter", "---"),
        ("PROXY_TOOL_BLOCK_DELIMITER", " \n\t", "tool_block_delimiter", " \n\t"),
        ("PROXY_TOOL_BLOCK_DELIMITER", r"\n-\t", "tool_block_delimiter", "\n-\t"),
        ("PROXY_TOOL_BLOCK_DELIMITER", r"\\n\x", "tool_block_delimiter", r"\n\x"),
        ("PROXY_SUPPRESS_TAIL_AFTER_TOOLS", "true", "suppress_tail_after_tools", "true"),
        ("PROXY_SUPPRESS_TAIL_AFTER_TOOLS", "1", "suppress_tail_after_tools", "true"),
        ("PROXY_SUPPRESS_TAIL_AFTER_TOOLS", "No", "suppress_tail_after_tools", "false"),
        ("PROXY_ENABLE_PARALLEL_TOOL_CALLS", "false", "enable_parallel_tool_calls", False),
        ("PROXY_PARK_TTL_MS", "1", "park_ttl_ms", 1),
        ("PROXY_PARK_MAX", "0", "park_max", 0),
        ("CODEX_BIN", "codex", "codex_bin", "codex"),
        ("CODEX_HOME", "own", "codex_home", Path.cwd() / "own"),
        ("CODEX_HOME", "~/own", "codex_home", Path.home() / "own"),
        ("PROXY_DEFAULT_MODEL", "gpt-6", "codex_model", "gpt-6"),
    ],
)
def test_accepted(name: str, text: str, field: str, value: object) -> None:
    loaded = load({name: text})
    assert getattr(loaded, field) == value
    assert loaded.sources == {field: "env"}


@pytest.mark.parametrize(
    ("name", "text", "accepted"),
    [
        ("PORT", "abc", "a whole number, 0 to 65535"),
        ("PORT", "65536", "0 to 65535"),
        ("PORT", "-1", "a whole number, 0 to 65535"),
        ("PORT", "1_000", "a whole number, 0 to 65535"),
        ("PORT", "1KiB", "a whole number, 0 to 65535"),
        ("PROXY_WORKER", "node", "codex, upstream, scripted"),
        ("PROXY_USE_APP_SERVER", "on", "true, false, yes, no, 1, 0"),
        ("PROXY_HEAD_HOLD_MS", "30s", "whole ms, 0 or more"),
        ("PROXY_HEAD_HOLD_MS", "1.5", "whole ms, 0 or more"),
        ("PROXY_HEAD_HOLD_MS", "99999999999", "0 to 2147483647"),
        ("WORKER_COUNT", "0", "1 to 64"),
        ("PROXY_MAX_BODY_BYTES", "2MB", "bytes, KiB, MiB or GiB, 1 to 1 GiB"),
        ("PROXY_MAX_BODY_BYTES", "0", "1 to 1073741824"),
        ("PROXY_OUTPUT_MODE", "xml", "auto, openai-json, obsidian-xml"),
        ("PROXY_STOP_AFTER_TOOLS_MODE", "last", "first, burst"),
        ("PROXY_PARK_TTL_MS", "0", "1 to 2147483647"),
        ("PROXY_LOG_MAX_AGE_S", "7d", "whole seconds, 0 or more"),
        ("PROXY_SCRIPTED_SPEED", "fast", "a number, 0 to 1000"),
        ("PROXY_SCRIPTED_SPEED", "nan", "0 to 1000"),
        ("PROXY_SCRIPTED_SPEED", "inf", "0 to 1000"),
        ("PROXY_CODEX_BASE_URL", "provider.example/v1", "an http(s) URL"),
        ("PROXY_CORS_ALLOWED_ORIGINS", "https://a.example/", "scheme://host[:port], or *"),
        ("PROXY_CORS_ALLOWED_ORIGINS", "https://a.example,b", "scheme://host[:port], or *"),
        ("CODEX_HOME", "~nobody-of-that-name/x", "a path"),
    ],
)
def test_refused(name: str, text: str, accepted: str) -> None:
    message = refusal({name: text})
    assert message.startswith(f"{name}: {text!r} is ")
    assert accepted in message


def test_an_upstream_needs_its_address() -> None:
    named = refusal({"PROXY_WORKER": "upstream"})
    assert named == "PROXY_UPSTREAM_URL: must be set for the upstream worker"
    address = {"PROXY_UPSTREAM_URL": "http://h/v1"}
    assert load({"PROXY_WORKER": "upstream"} | address).worker == "upstream"


def test_headers_for_an_upstream_are_shown_to_nobody() -> None:
    loaded = load({"PROXY_UPSTREAM_HEADERS": "X-Key: sesame, X-Empty:"})
    assert loaded.upstream_headers == ("X-Key: sesame", "X-Empty:")
    assert loaded.secrets() == ("sesame",)
    assert "sesame" not in repr(loaded)
    assert "a comma-separated list of Name: value" in refusal({"PROXY_UPSTREAM_HEADERS": "sesame"})
    assert "sesame" not in refusal({"PROXY_UPSTREAM_HEADERS": "sesame"})


def test_a_refused_flag_is_named_as_it_was_typed() -> None:
    assert refusal({"PORT": "1"}, port="x").startswith("--port: 'x' is not accepted")


def test_the_stronger_source_wins(tmp_path: Path) -> None:
    env_file = tmp_path / "env"
    env_file.write_text("PORT=1\nPROXY_HOST=::1\nWORKER_COUNT=3\nPROXY_LOG_LEVEL=debug\n")
    environ = {**HOME, "PORT": "2", "PROXY_HOST": "localhost", "PROXY_LOG_LEVEL": ""}
    loaded, warnings = configuration.load(environ, {"port": "3", "host": None}, env_file)
    assert warnings == []
    shown = rows(loaded)
    assert shown["PORT"][1:3] == ("3", "flag")
    assert shown["PROXY_HOST"][1:3] == ("localhost", "env")
    assert shown["WORKER_COUNT"][1:3] == ("3", "file")
    assert shown["PROXY_LOG_LEVEL"][1:3] == ("debug", "file")
    assert shown["PROXY_WORKER"][1:3] == ("codex", "default")


def test_an_empty_value_is_as_if_not_set() -> None:
    assert load({"PORT": "", "PROXY_API_KEY": "  ", "PROXY_NO_SUCH": ""}) == load()


def test_of_two_names_the_first_counts() -> None:
    both = {**HOME, "CODEX_MODEL": "a", "PROXY_DEFAULT_MODEL": "b"}
    loaded, warnings = configuration.load(both)
    assert loaded.codex_model == "a"
    assert warnings == ["PROXY_DEFAULT_MODEL is ignored, for CODEX_MODEL is set too"]
    assert load({"CODEX_MODEL": "a", "PROXY_DEFAULT_MODEL": "a"}).codex_model == "a"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost", "LOCALHOST"])
def test_loopback_needs_no_key(host: str) -> None:
    assert load(host=host).api_key is None
    assert load({"PROXY_API_KEY": "codex-local-secret"}, host=host).host == host


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.1.2.3", "edge.example", "localhost.example", "::ffff:127.0.0.1"]
)
def test_any_other_host_needs_a_key_of_its_own(host: str) -> None:
    assert refusal({"PROXY_HOST": host}) == f"PROXY_API_KEY: must be set to listen on {host!r}"
    assert "published key" in refusal({"PROXY_HOST": host, "PROXY_API_KEY": "codex-local-secret"})
    assert load({"PROXY_HOST": host, "PROXY_API_KEY": KEY}).host == host


def test_a_short_token_is_a_warning() -> None:
    (warning,) = warnings_of({"PROXY_METRICS_TOKEN": "scrape"})
    assert warning == "PROXY_METRICS_TOKEN has less than 16 characters: easy to guess"
    assert warnings_of({"PROXY_METRICS_TOKEN": "s" * 16}) == []


def test_a_token_is_nobodys_key() -> None:
    for name, others in (("PROXY_API_KEY", "clients"), ("PROXY_ADMIN_KEY", "operators")):
        said = refusal({name: KEY, "PROXY_METRICS_TOKEN": KEY})
        assert said == f"PROXY_METRICS_TOKEN: must not be {name}: {others} have that"


def test_s35_an_admin_key_is_a_key_of_its_own_and_no_shorter() -> None:
    far = {"PROXY_HOST": "0.0.0.0", "PROXY_API_KEY": KEY}
    own = f"{KEY}-of-operators"
    assert load({**far, "PROXY_ADMIN_KEY": own}).admin_key == own
    assert load({"PROXY_ADMIN_KEY": own}).admin_key == own
    assert refusal({**far, "PROXY_ADMIN_KEY": "fifteen-letters"}) == (
        "PROXY_ADMIN_KEY: must have at least 16 characters to listen on '0.0.0.0'"
    )
    assert "published key" in refusal({**far, "PROXY_ADMIN_KEY": "codex-local-secret"})
    same = "PROXY_ADMIN_KEY: must not be PROXY_API_KEY: clients have that"
    assert refusal({"PROXY_API_KEY": KEY, "PROXY_ADMIN_KEY": KEY}) == same
    _, warnings = configuration.load({**HOME, "PROXY_ADMIN_KEY": "short"})
    assert warnings == ["PROXY_ADMIN_KEY has less than 16 characters: easy to guess"]
    assert own not in repr(load({"PROXY_ADMIN_KEY": own}))


def test_no_key_is_shown_anywhere() -> None:
    given = {"PROXY_CODEX_API_KEY": f"sk-{KEY}", "PROXY_METRICS_TOKEN": f"scrape-{KEY}"}
    loaded = load({"PROXY_API_KEY": KEY, **given})
    assert loaded.api_key == KEY
    assert loaded.secrets() == (KEY, f"sk-{KEY}", f"scrape-{KEY}")
    assert KEY not in repr(loaded)
    assert KEY not in str(configuration.describe(loaded))
    assert rows(loaded)["PROXY_API_KEY"].value == "********"
    assert rows(load())["PROXY_API_KEY"].value == "none"
    for name in ("PROXY_API_KEY", "PROXY_CODEX_API_KEY"):
        message = refusal({name: f"Bearer {KEY}"})
        assert message.startswith(f"{name}: ******** is not accepted; it takes visible ASCII")
    assert KEY not in refusal({"PROXY_CODEX_BASE_URL": f"https://me:{KEY}@provider.example"})


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"WORKER_BACKOFF_INITIAL_MS": "9000"},
            "WORKER_BACKOFF_MAX_MS: is below WORKER_BACKOFF_INITIAL_MS",
        ),
        (
            {"PROXY_LOG_MAX_BYTES": "1 MiB"},
            "PROXY_LOG_MAX_BYTES: is below PROXY_LOG_SEGMENT_BYTES",
        ),
    ],
)
def test_what_does_not_fit_together(environ: dict[str, str], message: str) -> None:
    assert refusal(environ) == message


@pytest.mark.parametrize(
    ("environ", "data_dir"),
    [
        ({"XDG_STATE_HOME": "/state"}, "/state/turntape"),
        ({"XDG_STATE_HOME": "state"}, "/home/operator/.local/state/turntape"),
        ({"PROXY_DATA_DIR": "/data"}, "/data"),
    ],
)
def test_where_data_is_kept(environ: dict[str, str], data_dir: str) -> None:
    loaded = load(environ)
    assert loaded.data_dir == Path(data_dir)
    assert loaded.log_dir == Path(data_dir) / "log"
    assert load(environ, log_dir="/elsewhere").log_dir == Path("/elsewhere")


def test_without_a_home_the_data_directory_must_be_named() -> None:
    with pytest.raises(configuration.ConfigError, match="PROXY_DATA_DIR: must be set"):
        configuration.load({})
    assert configuration.load({"PROXY_DATA_DIR": "/data"})[0].data_dir == Path("/data")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("PROXY_HEAD_HOLDMS", "is unknown, did you mean PROXY_HEAD_HOLD_MS?"),
        ("PROXY_TOOLBLOCK_MAX", "is unknown, did you mean PROXY_TOOL_BLOCK_MAX?"),
        ("PROXY_QQQQQQQQQQQQQQQQQQ", "is unknown"),
        ("TOOL_BLOCK_MAX", "is not read: use PROXY_TOOL_BLOCK_MAX"),
        ("STOP_AFTER_TOOLS_MODE", "is not read: use PROXY_STOP_AFTER_TOOLS_MODE"),
        ("SUPPRESS_TAIL_AFTER_TOOLS", "is not read: use PROXY_SUPPRESS_TAIL_AFTER_TOOLS"),
        ("PROXY_PORT", "is not read: use PORT"),
        ("PROXY_CODEX_BIN", "is not read: use CODEX_BIN"),
        (
            "PROXY_KILL_ON_DISCONNECT",
            "is not used: a turn always ends within a second of its client",
        ),
        ("LOG_PROTO", "is not used: the event log keeps every event: PROXY_EVENT_LOG"),
        (
            "PROXY_CAPTURE_CHAT_TRANSCRIPTS",
            "is not used: PROXY_EVENT_LOG=full keeps contents, `turntape inspect` shows them",
        ),
    ],
)
def test_a_name_nobody_reads_is_a_warning(name: str, problem: str, tmp_path: Path) -> None:
    assert warnings_of({name: "true"}) == [f"{name} {problem}"]
    env_file = tmp_path / "env"
    env_file.write_text(f"{name}=true\n")
    for environ in ({**HOME, name: "true"}, {**HOME, name: ""}):
        assert configuration.load(environ, env_file=env_file)[1] == [f"{name} {problem}"]


def test_names_of_other_programs_are_none_of_our_business() -> None:
    assert warnings_of({"PATH": "/bin", "WORKER_CLASS": "x", "CODEX_SANDBOX": "1"}) == []


def test_the_env_file_is_taken_as_it_stands(tmp_path: Path) -> None:
    env_file = tmp_path / "env"
    env_file.write_text(
        "\ufeffexport PORT=1 # why\n# a comment\nPROXY_API_KEY='a$HOME${HOME}#b-of-the-operator'\n"
        'CODEX_BIN="/opt/my codex"\nWORKER_COUNT\n\nOTHER=1\n'
    )
    loaded, warnings = configuration.load(HOME, env_file=env_file)
    assert warnings == []
    assert (loaded.port, loaded.worker_count) == (1, 1)
    assert loaded.api_key == "a$HOME${HOME}#b-of-the-operator"
    assert loaded.codex_bin == "/opt/my codex"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'PORT=1\nPROXY_EVENT_LOG="off\n', "line 2 of"),
        (b"PORT=1\n=2\n", "line 2 of"),
        (b"PORT=\xff\n", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_broken_env_file_stops_the_start(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    env_file = tmp_path / "env"
    if content is not None:
        env_file.write_bytes(content)
    with pytest.raises(configuration.ConfigError, match=message) as caught:
        configuration.load(HOME, env_file=env_file)
    assert str(caught.value).startswith("--env-file: ")


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"PORT=1\n")
    os.close(writing)
    with os.fdopen(reading):
        path = Path(f"/dev/fd/{reading}")
        assert configuration.load(HOME, env_file=path)[0].port == 1
        with pytest.raises(configuration.ConfigError, match="is not a regular file"):
            configuration.load(HOME, env_file=path, is_again=True)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "env")
    (tmp_path / "env").write_text("PORT=2\n")
    assert configuration.load(HOME, env_file=link, is_again=True)[0].port == 2


@pytest.mark.parametrize("written", [r"\n", r"'\n'", r'"\n"', r'"\\n"', '"\n"', "'\n'"])
def test_a_newline_can_be_written_in_an_env_file(written: str, tmp_path: Path) -> None:
    env_file = tmp_path / "env"
    env_file.write_text(f"PROXY_TOOL_BLOCK_DELIMITER={written}\n")
    loaded, warnings = configuration.load(HOME, env_file=env_file)
    assert (loaded.tool_block_delimiter, warnings) == ("\n", [])
    assert rows(loaded)["PROXY_TOOL_BLOCK_DELIMITER"].value == r"\n"


def test_every_shown_value_can_be_written_back() -> None:
    loaded = load({"PROXY_TOOL_BLOCK_DELIMITER": " a\n\tb\\n "})
    for item in settings.SETTINGS:
        value = getattr(loaded, item.field)
        if value not in (None, ()):
            written = load({item.setting.name: values.show(item, value)})
            assert getattr(written, item.field) == value, item.field


def test_every_name_has_one_meaning() -> None:
    names = [name for item in settings.SETTINGS for name in item.names]
    names += [*configuration.RETIRED]
    assert len(names) == len(set(names))


def test_a_field_is_named_as_its_variable() -> None:
    for item in settings.SETTINGS:
        assert item.field == item.setting.name.removeprefix("PROXY_").lower()
