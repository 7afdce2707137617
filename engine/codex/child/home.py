"""The surroundings of a Codex process: its program, home, settings, model catalog and environment.

Codex on its own is an agent: it adds instructions, tools, files and side requests to what a
client says. The settings here take all of that away. They are passed on the command line, over
whatever `config.toml` says, so an operator's own home cannot bring it back.
"""

import fcntl
import importlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from engine import regular
from engine.codex import loginfile
from engine.codex.child import bundled as codexmodels, catalogrow

PROVIDER = "turntape"
"""Id of the model provider that the settings define."""

NEVER_IDLE_MS = 86_400_000
"""A day: how long a stream may be silent is decided by the stream's own deadlines."""

Value = str | bool | int | list[str] | dict[str, "Value"]
"""A value of a setting."""


class BinaryNotFound(Exception):
    """Raised where no Codex program can be found."""


class HomeTaken(Exception):
    """Raised where another server runs on the same directory."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's decisions about Codex.

    Attributes:
        data_dir: where the server keeps its files; `codex-home` in it is ours alone.
        operator_home: an operator's own CODEX_HOME, used as it is.
        base_url: a model provider other than OpenAI.
        has_key: whether the connection logs in with an API key.
        model: what a thread gets that names none.
        extra_models: models that only a custom provider knows.
        known: the models that the binary comes with.
        workdir: the directory of every thread; None for an empty one.
    """

    data_dir: Path
    operator_home: Path | None = None
    base_url: str | None = None
    has_key: bool = False
    model: str = "gpt-5.5"
    extra_models: tuple[str, ...] = ()
    known: tuple[codexmodels.KnownModel, ...] = codexmodels.KNOWN
    workdir: Path | None = None

    @property
    def own_home(self) -> Path:
        """The directory we generate: a home, and what Codex needs beside an operator's."""
        return self.data_dir.absolute() / "codex-home"

    @property
    def home(self) -> Path:
        """Codex's home, where its login is."""
        return self.operator_home.absolute() if self.operator_home else self.own_home

    @property
    def catalog_path(self) -> Path:
        """The model catalog."""
        return self.own_home / "catalog.json"

    @property
    def sqlite_dir(self) -> Path:
        """Codex's own databases: traces that grow with every turn and that nothing here reads."""
        return self.own_home / "sqlite"

    @property
    def sources_dir(self) -> Path:
        """Files that threads are forked from, each there for a moment."""
        return self.own_home / "sources"

    @property
    def cwd(self) -> Path:
        """The directory of every thread."""
        return self.workdir.absolute() if self.workdir else self.own_home / "empty"


def find_binary(codex_bin: str | None) -> Path:
    """The Codex program: `codex_bin` (a path, or a name on PATH), else the wheel's, else PATH's.

    Raises:
        BinaryNotFound: naming where it was looked for.
    """
    if codex_bin is not None:
        named = shutil.which(codex_bin)
        if named is None:
            raise BinaryNotFound(
                f"CODEX_BIN={codex_bin}: no such program; without it the installed one is used"
            )
        return Path(named).absolute()
    bundled = _bundled_binary()
    if bundled is not None:
        return bundled
    on_path = shutil.which("codex")
    if on_path is None:
        raise BinaryNotFound(
            "no Codex program: pip install 'turntape[codex]', or put codex on PATH, or set "
            "CODEX_BIN to its path; `--worker scripted` needs none"
        )
    return Path(on_path).absolute()


def _bundled_binary() -> Path | None:
    try:
        wheel = importlib.import_module("codex_cli_bin")
        return Path(wheel.bundled_codex_path())
    except (ImportError, FileNotFoundError):
        return None


_SAFETY: dict[str, Value] = {
    "developer_instructions": "",
    "notify": [],
    "web_search": "disabled",
    "include_permissions_instructions": False,
    "include_environment_context": False,
    "include_collaboration_mode_instructions": False,
    "include_apps_instructions": False,
    "project_doc_max_bytes": 0,
    "thread_unload_delay_secs": 0,
    "check_for_update_on_startup": False,
    "tools.experimental_request_user_input.enabled": False,
    "tools.update_plan.enabled": False,
    "skills.include_instructions": False,
    "skills.bundled.enabled": False,
    "analytics.enabled": False,
    "feedback.enabled": False,
    "features.unbounded_connection_retries": False,
    "features.goals": False,
    "features.multi_agent": False,
    "features.shell_tool": False,
    "features.view_image": False,
    "features.image_generation": False,
    "features.apps": False,
    "features.plugins": False,
    "features.remote_plugin": False,
    "features.tool_suggest": False,
    "features.hooks": False,
    "features.memories": False,
    "features.shell_snapshot": False,
    "features.incremental_tools": False,
    "features.fast_mode": True,  # a turn may name its service tier
    "features.async_compaction": False,
    "features.context_management": False,
    "features.current_time_reminder": False,
    "features.rollout_budget": False,
    "features.token_budget": False,
    "model_context_window": catalogrow.NO_COMPACTION_TOKENS,
    "model_auto_compact_token_limit": catalogrow.NO_COMPACTION_TOKENS,
    "tool_output_token_limit": catalogrow.NO_TRUNCATION_BYTES,
}
"""Takes away what Codex would add, run, send, shorten or retry by itself. The model catalog has
the limits too, but those of an operator's own would come before it."""


def settings(setup: Setup) -> dict[str, Value]:
    """Codex's settings by dotted key, the form in which both TOML and `-c` take them."""
    theirs = _operators_config(setup)
    return {
        "model": setup.model,
        "model_catalog_json": str(setup.catalog_path),
        "sqlite_home": str(setup.sqlite_dir),
        **_SAFETY,
        **_without_servers(theirs),
        **_login(setup),
        **_provider(setup, theirs),
    }


def _operators_config(setup: Setup) -> dict[str, Any]:
    if setup.operator_home is None:
        return {}
    try:
        text = (setup.operator_home / "config.toml").read_text("utf-8")
    except (OSError, ValueError):
        return {}
    import tomllib  # most operators have no such file

    try:
        return tomllib.loads(text)
    except ValueError:
        return {}  # nothing to respect; Codex itself says what is wrong with it


def _without_servers(theirs: dict[str, Any]) -> dict[str, Value]:
    """An operator's MCP servers off, one by one: an empty table would be merged with theirs."""
    servers: dict[str, Value] = {
        name: {"enabled": False} for name in theirs.get("mcp_servers", {})
    }
    return {"mcp_servers": servers} if servers else {}


def _login(setup: Setup) -> dict[str, Value]:
    """A key stays in the process: no file of Codex's holds it, and none is replaced by it."""
    return {"cli_auth_credentials_store": "ephemeral"} if setup.has_key else {}


_NO_RETRIES: dict[str, Value] = {"request_max_retries": 0, "stream_max_retries": 0}
"""Codex would send text again that it has already sent."""


def _provider(setup: Setup, theirs: dict[str, Any]) -> dict[str, Value]:
    """Where the model is. No login but a key's ever travels to another URL than OpenAI's."""
    chosen = theirs.get("model_provider", "openai")
    if setup.base_url is None and chosen != "openai":
        defined = chosen in theirs.get("model_providers", {})
        return {"model_providers": {chosen: _NO_RETRIES}} if defined else {}
    provider = {
        "wire_api": "responses",
        "stream_idle_timeout_ms": NEVER_IDLE_MS,
        **_NO_RETRIES,
        **(_openai() if setup.base_url is None else _elsewhere(setup.base_url, setup.has_key)),
    }
    table = f"model_providers.{PROVIDER}"
    return {
        "model_provider": PROVIDER,
        **{f"{table}.{key}": value for key, value in provider.items()},
    }


def _openai() -> dict[str, Value]:
    """The name alone makes Codex send its login to OpenAI's own URLs, over plain HTTP requests."""
    return {"name": "OpenAI", "requires_openai_auth": True}


def _elsewhere(base_url: str, has_key: bool) -> dict[str, Value]:
    """Not by OpenAI's name, to which Codex sends more; and a login only if it is a key."""
    return {"name": PROVIDER, "base_url": base_url, "requires_openai_auth": has_key}


def _toml(value: Value) -> str:
    """A TOML value on one line; of a text as JSON has it, TOML refuses only a bare DEL."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(of)}" for key, of in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def config_toml(setup: Setup) -> str:
    """The settings as the text of a `config.toml`."""
    return "".join(f"{key} = {_toml(value)}\n" for key, value in settings(setup).items())


def command(binary: Path, setup: Setup) -> tuple[str, ...]:
    """The command line of an app-server with the settings, whatever its home says."""
    pairs = (f"{key}={_toml(value)}" for key, value in settings(setup).items())
    flags = (part for pair in pairs for part in ("-c", pair))
    return (str(binary), "app-server", *flags)


def catalog(setup: Setup) -> dict[str, Any]:
    """The model catalog: each known model, and those that only a provider knows.

    The lite form of a request is for OpenAI's back end alone.
    """
    known = (model.slug for model in setup.known)
    slugs = dict.fromkeys((*known, setup.model, *setup.extra_models))
    found = [codexmodels.find(slug, setup.known) for slug in slugs]
    plain = setup.base_url is not None
    return {
        "models": [
            catalogrow.of(model, priority, lite=model.lite and not plain)
            for priority, model in enumerate(found, start=1)
        ]
    }


def prepare(setup: Setup) -> None:
    """Write what Codex needs, once, before the first process is started.

    An operator's home is left alone. In ours, instructions that somebody put there are removed.

    Raises:
        NotRegular: something else is in the place of a file.
        OSError: a file or a directory cannot be made.
    """
    _make_private(setup.data_dir, setup.own_home, setup.sqlite_dir, setup.sources_dir)
    if setup.workdir is None:
        setup.cwd.mkdir(mode=0o700, exist_ok=True)
    for name in ("AGENTS.md", "AGENTS.override.md"):
        (setup.own_home / name).unlink(missing_ok=True)
    _write_private(setup.catalog_path, json.dumps(catalog(setup), indent=1) + "\n")
    if setup.operator_home is None:
        _write_private(setup.own_home / "config.toml", config_toml(setup))


def take(setup: Setup) -> int:
    """Keep other servers from this home; a descriptor that holds it as long as it is open.

    It comes before `prepare`, which would change the files under another server's processes.

    Raises:
        HomeTaken: another server has it.
        NotRegular: something else is in the place of the lock.
    """
    _make_private(setup.data_dir, setup.own_home)
    held = regular.open_regular(setup.own_home / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise HomeTaken(
            f"{setup.own_home}: another server uses it; stop it, or set PROXY_DATA_DIR to "
            "another directory"
        ) from None
    return held


def login_advice(setup: Setup) -> str:
    """Say what to do about a Codex that has no login."""
    advice = "The server's Codex has no login. Run `turntape login`, or set PROXY_CODEX_API_KEY."
    theirs = Path.home() / ".codex"
    if (theirs / loginfile.NAME).exists() and setup.home != theirs:
        advice += " A login was found in ~/.codex: set CODEX_HOME to use it."
    return advice


def wipe(setup: Setup) -> None:
    """Remove the databases and the sources of the last run; no process of this setup may be
    running."""
    for left in (*setup.sqlite_dir.iterdir(), *setup.sources_dir.iterdir()):
        left.unlink()


def _make_private(*directories: Path) -> None:
    for directory in directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)


def _write_private(path: Path, text: str) -> None:
    """Write a file that is none but its owner's, as it may be from before."""
    with os.fdopen(regular.open_regular(path, os.O_WRONLY | os.O_CREAT), "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.truncate()
        file.write(text.encode())


_PASSED_ON = frozenset(
    (
        *("PATH", "HOME", "LANG", "TZ", "RUST_LOG"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY"),
    )
)
"""The variables of our environment that Codex may see, in either case; none of them holds a
key."""


def environment(setup: Setup, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a Codex process, whose log is then JSON without colours."""
    passed = {name: value for name, value in environ.items() if _passes(name)}
    own = {"CODEX_HOME": str(setup.home), "NO_COLOR": "1", "LOG_FORMAT": "json"}
    return passed | own


def _passes(name: str) -> bool:
    return name.upper() in _PASSED_ON or name.startswith("LC_")
