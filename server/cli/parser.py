"""The argument parser of the command line: says what was meant, and under which command."""

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import NoReturn

from server.cli import printing
from server.config import load as configuration


class Parser(argparse.ArgumentParser):
    """A parser whose refusals name what comes close to what was written."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments, as argparse does; what is in them steers no terminal.

        Raises:
            SystemExit: always.
        """
        _, is_choice, rest = message.partition("invalid choice: '")
        if is_choice:
            name, _, known = rest.partition("'")
            message += _meant(name, re.findall(r"[\w-]+", known))
        super().error(printing.printable(message))

    def parse(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Read the arguments of a command that has set `parser` to its own.

        Raises:
            SystemExit: they cannot be read, or asked for help.
        """
        options, unknown = self.parse_known_args(arguments)
        if unknown:
            own = getattr(options, "parser", self)
            name = unknown[0].partition("=")[0]
            flags = (flag for action in own._actions for flag in action.option_strings)
            own.error(f"unrecognized arguments: {' '.join(unknown)}{_meant(name, flags)}")
        return options


def _meant(name: str, known: Iterable[str]) -> str:
    near = configuration.nearest(name, known)
    return f". Did you mean {near}?" if near else ""
