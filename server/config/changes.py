"""Tells what a configuration that was read again changes in a server that runs.

Some settings are read by every request, and change with the next one. The others have made
something at the start, an address, a process or a file, and wait for a restart.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from server.config import keys_file, models_file, settings, values
from server.config.settings import Config

LIVE: Final = frozenset(
    {
        "admin_key",
        "api_key",
        "api_keys_file",
        "cors_allowed_origins",
        "enable_cors",
        "enable_parallel_tool_calls",
        "enable_websockets",
        "first_chunk_timeout_ms",
        "head_hold_ms",
        "max_chat_choices",
        "max_input_items",
        "max_prompt_tokens",
        "max_tool_calls",
        "metrics_allow_loopback",
        "metrics_allow_unauth",
        "metrics_token",
        "models_file",
        "nonstream_truncate_after_ms",
        "output_mode",
        "protect_models",
        "rate_limit_enabled",
        "rate_limit_max",
        "rate_limit_window_ms",
        "responses_output_mode",
        "sse_keepalive_ms",
        "sse_max_concurrency",
        "stop_after_tools",
        "stop_after_tools_grace_ms",
        "stop_after_tools_mode",
        "stream_idle_timeout_ms",
        "suppress_tail_after_tools",
        "test_endpoints",
        "timeout_ms",
        "tool_block_dedup",
        "tool_block_delimiter",
        "tool_block_max",
        "websocket_idle_ms",
        "websocket_max_age_ms",
    }
)
"""Fields of `Config` that a reload puts in force; the others wait for a restart."""


class Change(NamedTuple):
    """One thing that is not as it was.

    Attributes:
        name: of the setting; of a key or a model, its place in its file.
        before, after: as one would write them; of a secret only whether there is one. None: it
            was not there, or is not any more.
        needs_restart: whether it is in force only after one.
    """

    name: str
    before: str | None
    after: str | None
    needs_restart: bool = False


def merge(running: Config, read: Config) -> Config:
    """Return what is in force from now on: of what was read, as much as needs no restart."""
    fields: dict[str, Any] = {name: getattr(read, name) for name in LIVE}
    sources = {
        item.field: found.sources[item.field]
        for item in settings.SETTINGS
        for found in (read if item.field in LIVE else running,)
        if item.field in found.sources
    }
    return msgspec.structs.replace(
        running, **fields, models=read.models, keys=read.keys, sources=sources
    )


def changes(running: Config, read: Config) -> Iterator[Change]:
    """Return what differs between the configuration in force and one that was read."""
    for item in settings.SETTINGS:
        before, after = getattr(running, item.field), getattr(read, item.field)
        if before != after:
            shown = (values.show(item, before), values.show(item, after))
            yield Change(item.setting.name, *shown, item.field not in LIVE)
    models = [
        {name: models_file.show(name, rule, each.worker)[1] for name, rule in each.models.items()}
        for each in (running, read)
    ]
    for name in _differing(running.models, read.models):
        yield Change(f"models.{name}", models[0].get(name), models[1].get(name))
    for name in _differing(running.keys, read.keys):
        held, holds = running.keys.get(name), read.keys.get(name)
        was = None if held is None else keys_file.show(held)
        now = None if holds is None else keys_file.show(holds)
        if held is not None and holds is not None and held.hashes != holds.hashes:
            now = f"{now}, another key"
        yield Change(f"keys.{name}", was, now)


def _differing(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """The names under which two files differ: those of the old one first."""
    names = dict.fromkeys((*before, *after))
    return [name for name in names if before.get(name) != after.get(name)]
