"""Reads the settings of a run from flags, the environment and an env file, and explains them.

The stronger source wins: flag, environment, file, default. An empty value is as if not set. A
malformed one stops the start; a name nobody reads is a warning that says what to use instead.
`python -m server.config.load` prints the generated part of `docs/configuration.md`.
"""

import fnmatch
import functools
import ipaddress
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from engine import workerkinds
from engine.routing import fleet as routing
from server.config import changes, declared, keys_edit, keys_file, models_file, settings, values
from server.config.settings import Config as Config
from server.http import clientaddress

PUBLISHED_KEY = "codex-local-secret"
"""The default key of codex-completions-api, whose `.env` carries over: no secret at all."""

KEY_CHARACTERS = 16
"""Least length of a key off loopback: 64 bits, where it is random and written in hexadecimal."""

RETIRED = {
    "CODEX_APPROVAL_POLICY": "use PROXY_APPROVAL_POLICY",
    "CODEX_FORCE_PROVIDER": "use PROXY_CODEX_BASE_URL",
    "LOG_PROTO": "the event log keeps every event: PROXY_EVENT_LOG",
    "PROXY_CAPTURE_*": "PROXY_EVENT_LOG=full keeps contents, `turntape inspect` shows them",
    "PROXY_DEV_TRUNCATE_AFTER_MS": "use PROXY_NONSTREAM_TRUNCATE_AFTER_MS",
    "PROXY_IDLE_TIMEOUT_MS": "use PROXY_STREAM_IDLE_TIMEOUT_MS, it covers both modes",
    "PROXY_IGNORE_CLIENT_SYSTEM_PROMPT": "system messages always reach the model",
    "PROXY_INGRESS_GUARDRAIL": "nothing is added to a client's messages",
    "PROXY_KILL_ON_DISCONNECT": "a turn always ends within a second of its client",
    "PROXY_LOG_PROTO": "the event log keeps every event: PROXY_EVENT_LOG",
    "PROXY_SANITIZE_METADATA": "Codex's own metadata never enters an answer",
    "PROXY_TITLE_*": "every request is answered by the model it names",
    "PROXY_TRACE_REQUIRED": "PROXY_LOG_ON_ERROR=refuse serves nothing unlogged",
    "PROXY_WORKER_COUNT": "use WORKER_COUNT",
    "SANITIZER_LOG_*": "PROXY_EVENT_LOG=masked masks contents before they are written",
    "TOKEN_LOG_PATH": "`/v1/usage` has the tokens, and `/v1/usage/raw` a line for each request",
    "WORKER_RESTART_MAX": "restarts are never given up; WORKER_BACKOFF_MAX_MS spaces them",
}
"""Names of codex-completions-api without a successor, and what does their job here."""


UNPREFIXED = ("TOOL_BLOCK_", "STOP_AFTER_TOOLS", "SUPPRESS_TAIL_AFTER_TOOLS")
"""How names of codex-completions-api begin that have a `PROXY_` here. Of others without one, such
as `LOG_LEVEL`, nobody knows whose they are."""


class ConfigError(Exception):
    """Raised by `load` for a value that must not be started with; its text is for the operator.

    Args:
        name: the variable, flag or file at fault.
        problem: what is wrong, and what is accepted; holds no secret.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name
        self.problem = problem


class Row(NamedTuple):
    """A line of `turntape config`."""

    name: str
    value: str
    source: settings.Source
    meaning: str


class _Given(NamedTuple):
    """A text that sets something: the name it was given under, and where."""

    name: str
    text: str
    source: settings.Source


def load(
    environ: Mapping[str, str],
    flags: Mapping[str, str | None] | None = None,
    env_file: Path | None = None,
    check_default: models_file.CheckDefault = models_file.accept,
    *,
    is_again: bool = False,
) -> tuple[Config, list[str]]:
    """The settings of a run, and warnings for the operator.

    Args:
        flags: by field of `Config`; None: not given.
        env_file: `NAME=value` lines, taken as they stand: nothing is expanded.
        check_default: of the models file, where it gives a default to a worker of turns.
        is_again: whether a start has read the same before. A pipe, such as that of `<(sops -d
            env)`, has nothing more to say then: it would pass for an empty file, or be waited for.

    Raises:
        ConfigError: for the first value found that cannot be used.
    """
    if is_again:
        _check_readable_again("--env-file", env_file)
    filed = _read(env_file) if env_file is not None else {}
    warnings = list(_name_warnings(environ, filed))
    chosen, sources, ignored = _chosen(environ, flags or {}, filed)
    warnings += ignored
    if "data_dir" not in chosen:
        chosen["data_dir"] = _state_dir(environ)
    chosen.setdefault("log_dir", chosen["data_dir"] / "log")
    config = Config(**chosen, sources=sources)
    if is_again:
        _check_readable_again("PROXY_MODELS_FILE", config.models_file)
    if config.models_file is not None:
        rules = _rules(config, config.models_file, check_default)
        config = msgspec.structs.replace(config, models=rules)
    if config.api_keys_file is not None:
        config = msgspec.structs.replace(config, keys=_named_keys(config.api_keys_file))
    check(config)
    warnings += [
        f"{name} has less than {KEY_CHARACTERS} characters: easy to guess"
        for name, key in _keys(config).items()
        if _is_short(key)
    ]
    return config, warnings


def setting(
    field: str,
    environ: Mapping[str, str],
    flags: Mapping[str, str | None],
    env_file: Path | None,
) -> Any:
    """One setting by itself, whatever is wrong with the others; None: it is not given.

    Raises:
        ConfigError: it is malformed, or the env file cannot be read.
    """
    filed = _read(env_file) if env_file is not None else {}
    items = [item for item in settings.SETTINGS if item.field == field]
    return _chosen(environ, flags, filed, items)[0].get(field)


def _chosen(
    environ: Mapping[str, str],
    flags: Mapping[str, str | None],
    filed: Mapping[str, str],
    items: Iterable[declared.Declared] = settings.SETTINGS,
) -> tuple[dict[str, Any], dict[str, settings.Source], list[str]]:
    """What is given of some settings, where each is from, and warnings of what is ignored."""
    chosen: dict[str, Any] = {}
    sources: dict[str, settings.Source] = {}
    warnings: list[str] = []
    for item in items:
        given = list(_given(item, flags, environ, filed))
        if not given:
            continue
        first = given[0]
        chosen[item.field] = _value(item, first)
        sources[item.field] = first.source
        warnings += [
            f"{other.name} is ignored, for {first.name} is set too"
            for other in given[1:]
            if other.source == first.source and other.text != first.text
        ]
    return chosen, sources, warnings


def _check_readable_again(name: str, path: Path | None) -> None:
    if path is not None and path.exists() and not path.is_file():
        raise ConfigError(name, f"{path} is not a regular file: only a restart reads it again")


def _rules(config: Config, path: Path, check: models_file.CheckDefault) -> dict[str, routing.Rule]:
    try:
        return models_file.load(path, config.worker, check)
    except models_file.ModelsFileError as error:
        raise ConfigError(str(path), str(error)) from None


def _named_keys(path: Path) -> dict[str, keys_file.Key]:
    try:
        return keys_file.load(path)
    except keys_file.KeysFileError as error:
        raise ConfigError(str(path), str(error)) from None


def _read(path: Path) -> dict[str, str]:
    from dotenv import parser as dotenv  # most starts read no file

    try:
        with path.open(encoding="utf-8-sig") as stream:
            bindings = list(dotenv.parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("--env-file", f"{path} cannot be read: {error}") from None
    for binding in bindings:
        if binding.error:
            where = f"line {binding.original.line} of {path}"
            raise ConfigError("--env-file", f"{where} is not NAME=value, or has an open quote")
    return {binding.key: binding.value or "" for binding in bindings if binding.key}


def _given(
    item: declared.Declared,
    flags: Mapping[str, str | None],
    environ: Mapping[str, str],
    filed: Mapping[str, str],
) -> Iterator[_Given]:
    if text := _trimmed(item, flags.get(item.field)):
        yield _Given(item.setting.flag or item.setting.name, text, "flag")
    for name in item.names:
        if text := _trimmed(item, environ.get(name)):
            yield _Given(name, text, "env")
    for name in item.names:
        if text := _trimmed(item, filed.get(name)):
            yield _Given(name, text, "file")


def _trimmed(item: declared.Declared, text: str | None) -> str:
    text = text or ""
    return text if item.kind.verbatim else text.strip()


def _name_warnings(*sources: Mapping[str, str]) -> Iterator[str]:
    known = {name for item in settings.SETTINGS for name in item.names}
    given = {name for source in sources for name, text in source.items() if text.strip()}
    for name in sorted(given):
        retired = [advice for old, advice in RETIRED.items() if fnmatch.fnmatchcase(name, old)]
        if name in known:
            continue
        if retired:
            yield f"{name} is not used: {retired[0]}"
        elif name.startswith(UNPREFIXED) and f"PROXY_{name}" in known:
            yield f"{name} is not read: use PROXY_{name}"
        elif name.startswith("PROXY_") and name.removeprefix("PROXY_") in known:
            yield f"{name} is not read: use {name.removeprefix('PROXY_')}"
        elif name.startswith("PROXY_"):
            near = nearest(name, sorted(known))
            yield f"{name} is unknown" + (f", did you mean {near}?" if near else "")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the name that one was meant to be; empty where none comes close."""
    import difflib  # most names are spelled as they should be

    return next(iter(difflib.get_close_matches(name, list(known), n=1)), "")


def _value(item: declared.Declared, given: _Given) -> object:
    try:
        return values.parse(item, given.text)
    except ValueError as error:
        raise ConfigError(given.name, str(error)) from None


def _state_dir(environ: Mapping[str, str]) -> Path:
    state = Path(environ.get("XDG_STATE_HOME", ""))
    if state.is_absolute():  # the XDG specification has a relative one ignored
        return state / "turntape"
    home = environ.get("HOME")
    if not home:
        raise ConfigError("PROXY_DATA_DIR", "must be set where there is no HOME")
    return Path(home) / ".local" / "state" / "turntape"


def check(config: Config) -> None:
    """Refuse what is well-formed alone but not together.

    Raises:
        ConfigError: with one of those at fault.
    """
    _check_keys(config)
    if workerkinds.UPSTREAM in config.worker_kinds() and config.upstream_url is None:
        raise ConfigError("PROXY_UPSTREAM_URL", "must be set for the upstream worker")
    if config.worker_backoff_max_ms < config.worker_backoff_initial_ms:
        raise ConfigError("WORKER_BACKOFF_MAX_MS", "is below WORKER_BACKOFF_INITIAL_MS")
    try:
        clientaddress.networks(config.trusted_proxies)
    except ValueError as error:
        raise ConfigError("PROXY_TRUSTED_PROXIES", str(error)) from None
    if 0 < config.log_max_bytes < config.log_segment_bytes:
        raise ConfigError("PROXY_LOG_MAX_BYTES", "is below PROXY_LOG_SEGMENT_BYTES")


def _check_keys(config: Config) -> None:
    """Refuse keys that cannot protect what they are for."""
    keys = _keys(config)
    if not is_loopback(config.host):
        if not config.needs_key:
            raise ConfigError("PROXY_API_KEY", f"must be set to listen on {config.host!r}")
        for name, key in keys.items():
            if key == PUBLISHED_KEY:
                problem = f"a published key cannot protect {config.host!r}; choose another"
                raise ConfigError(name, problem)
            if _is_short(key):
                problem = (
                    f"must have at least {KEY_CHARACTERS} characters to listen on {config.host!r}"
                )
                raise ConfigError(name, problem)
    holders: dict[str, str] = {}
    for name, key in keys.items():
        if key in holders:
            others = "clients" if holders[key] == "PROXY_API_KEY" else "operators"
            raise ConfigError(name, f"must not be {holders[key]}: {others} have that")
        holders[key] = name
    _check_named_keys(config, keys)


def _check_named_keys(config: Config, keys: Mapping[str, str]) -> None:
    """Refuse a named key that has a second name, among the settings."""
    for other, key in keys.items():
        hashed = keys_edit.hash_of(key)
        for name, named in config.keys.items():
            if hashed in named.hashes and name != other:
                raise ConfigError(str(config.api_keys_file), f"keys.{name} must not be {other}")


def _keys(config: Config) -> dict[str, str]:
    """The keys that open this server, by name."""
    keys = {
        "PROXY_API_KEY": config.api_key,
        "PROXY_ADMIN_KEY": config.admin_key,
        "PROXY_METRICS_TOKEN": config.metrics_token,
    }
    return {name: key for name, key in keys.items() if key is not None}


def _is_short(key: str) -> bool:
    return len(key) < KEY_CHARACTERS


@functools.lru_cache(maxsize=64)  # asked for every request; the names are a client's
def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to `host`. Of names, `localhost` alone is trusted."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    # Whether a mapped IPv4 address is loopback depends on the version of Python.
    return address.is_loopback and getattr(address, "ipv4_mapped", None) is None


def describe(config: Config) -> list[Row]:
    """Every setting with its value and where it came from, secrets hidden; then the models."""
    rows = [
        Row(
            item.setting.name,
            values.show(item, getattr(config, item.field)),
            config.sources.get(item.field, "default"),
            item.setting.meaning,
        )
        for item in settings.SETTINGS
    ]
    for name, rule in config.models.items():
        place, said = models_file.show(name, rule, config.worker)
        rows.append(Row(place, said, "file", "what stands behind that name"))
    for name, key in config.keys.items():
        rows.append(Row(f"keys.{name}", keys_file.show(key), "file", "what a key may ask for"))
    return rows


def reference() -> str:
    """The generated part of `docs/configuration.md`."""
    lines = ["| name | default | takes | meaning |", "|---|---|---|---|"]
    for item in settings.SETTINGS:
        spelled = [*item.names, *filter(None, [item.setting.flag])]
        names = ", ".join(f"`{name}`" for name in spelled)
        default = item.setting.derived or values.show(item, item.default)
        lines.append(f"| {names} | {default} | {values.accepts(item)} | {item.setting.meaning} |")
    live = (item.setting.name for item in settings.SETTINGS if item.field in changes.LIVE)
    lines += ["", f"In force with a reload: {', '.join(f'`{name}`' for name in live)}.", ""]
    lines += ["| name of codex-completions-api | what does its job here |", "|---|---|"]
    lines += [f"| `{name}` | {advice} |" for name, advice in RETIRED.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
