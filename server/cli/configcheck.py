"""`turntape config --check`: whether a server would start with this configuration, for CI.

The settings, the models file and the keys file have been read when this begins, so what is wrong
in them was the end already. What is left is whether the names in the models file lead somewhere:
the workers know that, and they are made for it, but not started.
"""

import asyncio
from collections.abc import Mapping

import msgspec

from engine.codex.child import home as codexhome
from engine.log import event_log as eventlog
from engine.stream import wakeups
from server import assembly, context
from server.cli import printing
from server.config import settings
from server.process import exits


def run(config: settings.Config, environ: Mapping[str, str]) -> int:
    """Look at where the names of models lead, and say that all is right; the exit status.

    Raises:
        ConfigError: a rule of the models file leads nowhere.
        ExtraMissing, TranscriptError: a worker cannot work here at all.
    """
    given = f"{len(config.sources)} settings"
    if config.models_file is not None:
        given += f", {len(config.models)} models"
    if config.api_keys_file is not None:
        given += f", {len(config.keys)} keys"
    if config.models:
        try:
            asyncio.run(_make_fleet(config, environ))
        except codexhome.BinaryNotFound:
            said = "Codex is not on this machine, so nobody looked whether it has the models named"
            printing.complain(f"warning: {said}")
    printing.say(f"configuration ok: {given}; `turntape config` shows each")
    return exits.CLEAN


async def _make_fleet(config: settings.Config, environ: Mapping[str, str]) -> None:
    """Make the workers as a server would, with a log that keeps nothing."""
    unlogged = msgspec.structs.replace(assembly.log_settings(config), content="off")
    log = eventlog.EventLog(unlogged, lambda: 0)
    joined = wakeups.Wakeups(asyncio.get_running_loop(), log)
    context.fleet(config, assembly.make_workers(config, environ, log, joined))
