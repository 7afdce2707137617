"""The settings of a command that works with a server's: its flags, and what they come to."""

import argparse
import os
from pathlib import Path

import msgspec

from server import diagnostics
from server.chat import request as chatbodies
from server.cli import printing
from server.config import load as configuration, settings


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare a flag for each setting that has one, and `--env-file`."""
    for item in settings.SETTINGS:
        if item.setting.flag is not None:
            command.add_argument(
                item.setting.flag,
                dest=item.field,
                help=f"{item.setting.meaning} ({item.setting.name})",
            )
    command.add_argument("--env-file", type=Path, help="file of NAME=value lines")


def load(options: argparse.Namespace) -> settings.Config:
    """Return the configuration of a run; warnings are for people, like reasons.

    Raises:
        ConfigError: a value must not be started with.
    """
    config, warnings = read(options)
    for warning in warnings:
        printing.complain(f"warning: {warning}")
    return config


def read(
    options: argparse.Namespace, *, is_again: bool = False
) -> tuple[settings.Config, list[str]]:
    """Return the configuration of a run, and what is to be warned of.

    Raises:
        ConfigError: a value must not be started with.
    """
    flags = {
        item.field: getattr(options, item.field, None)
        for item in settings.SETTINGS
        if item.setting.flag is not None
    }
    return configuration.load(
        os.environ, flags, options.env_file, chatbodies.default_problem, is_again=is_again
    )


def load_quiet(options: argparse.Namespace) -> settings.Config:
    """Return the configuration of a command that starts a Codex, of which nobody asked to see
    much.

    Raises:
        ConfigError: a value must not be started with.
    """
    config = load(options)
    if "log_level" not in config.sources:
        config = msgspec.structs.replace(config, log_level="warning")
    diagnostics.configure(config)
    return config
