"""Every command is declared by name, and loads what it runs and nothing else."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from server.cli import commands, parser as parsers
from tests.server.cli.log import asked
from tests.support.process import measured, serving

HEAVY = ("asyncio", "structlog", "uvloop", "h11", "statemachine", "rich", "aiohttp", "subprocess")
"""Packages each of which takes some milliseconds to load, or is of the serving path."""

OURS = ("server.serve", "server.config.settings", "server.assembly", "engine.codex", "server.chat")

LOADED = (
    "import os, sys; sys.argv[1:1] = []; from server.cli import command_line as cli; "
    "status = cli.main(sys.argv[1:]); "
    "print(status, *sys.modules, file=sys.stderr)"
)
"""A program that runs a command and says what it has loaded."""


def loaded(*arguments: str) -> set[str]:
    ran = subprocess.run(
        (sys.executable, "-c", LOADED, *arguments),
        cwd=serving.ROOT,
        env={"PATH": "/usr/bin:/bin", **measured.VARIABLES},
        capture_output=True,
        text=True,
        check=True,
    )
    status, *modules = ran.stderr.split()
    assert status == "0", ran
    return set(modules)


def test_the_version_and_the_help_load_no_package_and_no_layer_below() -> None:
    for arguments in (("--version",), ("--help",)):
        modules = loaded(*arguments)
        assert not modules & {*HEAVY, *OURS, "msgspec"}
        assert not {name for name in modules if name.startswith(("engine", "machines"))}


@pytest.mark.parametrize("command", ["log", "stats"])
def test_a_list_loads_nothing_of_a_server(command: str, tmp_path: Path) -> None:
    asked.write(tmp_path, {})
    modules = loaded(command, str(tmp_path))
    assert "engine.log.find.catalog" in modules
    assert not modules & {*HEAVY, *OURS}


@pytest.mark.parametrize("command", commands.COMMANDS, ids=lambda command: command.name)
def test_a_command_is_a_module_with_its_arguments_and_its_run(
    command: parsers.Command,
) -> None:
    try:
        module = importlib.import_module(command.module)
    except ModuleNotFoundError as missing:
        assert missing.name == command.module
        pytest.skip("not there yet")
    assert callable(module.run)
    assert callable(module.add_arguments)


def test_names_come_once() -> None:
    names = [command.name for command in commands.COMMANDS]
    assert len(names) == len(set(names))
