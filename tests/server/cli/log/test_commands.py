"""Which log a command is about, and what all commands say of arguments that they cannot read."""

import importlib
from pathlib import Path

import pytest

from server.cli import parser as parsers
from server.cli.log import commands


def test_a_path_that_is_given_is_the_log_and_else_the_configured_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert commands.path_of(tmp_path) == tmp_path
    monkeypatch.setenv("PROXY_LOG_DIR", str(tmp_path / "configured"))
    assert commands.path_of(None) == tmp_path / "configured"
    assert commands.path_of(None, tmp_path) == tmp_path


@pytest.mark.parametrize("name", ["log", "stats", "ui"])
def test_a_command_that_takes_a_path_takes_it_as_the_others_do_too(
    name: str, tmp_path: Path
) -> None:
    (command,) = (each for each in commands.COMMANDS if each.name == name)
    options = made(command).parse(["--log", str(tmp_path)])
    assert commands.path_of(options.path, options.log) == tmp_path
    assert made(command).parse([str(tmp_path)]).path == tmp_path


def made(command: parsers.Command) -> parsers.Parser:
    """The parser of a command, without another around it."""
    parser = parsers.Parser(prog=f"turntape {command.name}")
    importlib.import_module(command.module).add_arguments(parser)
    return parser


@pytest.mark.parametrize("command", commands.COMMANDS, ids=lambda command: command.name)
def test_what_an_option_takes_is_said_in_plain_words(
    command: parsers.Command, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = [each for each in made(command)._actions if each.type not in (None, Path)]
    for option in typed:
        with pytest.raises(SystemExit):
            made(command).parse([f"{option.option_strings[-1]}=x"])
        refusal = capsys.readouterr().err.splitlines()[-1]
        assert "'x' is not accepted; it takes a" in refusal
