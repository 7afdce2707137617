"""The argument parser of the command line: says what was meant, and under which command.

Commands are declared by name. A module is imported when its command is chosen, so that no other
pays for it: `turntape --version` loads no server.
"""

import argparse
import functools
import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

from server.cli import printing

_Value = TypeVar("_Value")

PORT_MOST: Final = 65_535
"""The largest TCP port."""


class Command(NamedTuple):
    """A command.

    Attributes:
        module: has `add_arguments(parser)` and `run(options) -> int`.
        help: one line.
        is_quiet: whether nothing that it runs has lines of diagnostics; else they are begun.
    """

    name: str
    module: str
    help: str
    is_quiet: bool = False


class Parser(argparse.ArgumentParser):
    """A parser whose refusals name what comes close to what was written."""

    _declare: Callable[[], None] | None = None

    def defer(self, declare: Callable[[], None]) -> None:
        """Have the arguments declared when there are some to be read, or help is asked for."""
        self._declare = declare

    def declare_now(self) -> None:
        """Have the arguments declared, unless they are."""
        declare, self._declare = self._declare, None
        if declare is not None:
            declare()

    def parse_known_args(self, *arguments: Any, **more: Any) -> Any:
        """Read what is known, as argparse does."""
        self.declare_now()
        return super().parse_known_args(*arguments, **more)

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments, as argparse does; what is in them steers no terminal.

        Raises:
            SystemExit: always.
        """
        _, is_choice, rest = message.partition("invalid choice: '")
        if is_choice:
            name, _, known = rest.partition("'")
            message += _meant(name, re.findall(r"[\w-]+", known))
        elif message.endswith(": expected one argument"):
            flag = message.removeprefix("argument ").partition(":")[0].split("/")[-1]
            message += f"; one that begins with - is given as {flag}=-..."
        super().error(printing.printable(message))

    def parse(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Read the arguments of a command that has set `parser` to its own.

        Raises:
            SystemExit: they cannot be read, or asked for help.
        """
        options: argparse.Namespace
        options, unknown = self.parse_known_args(arguments)
        if unknown:
            own = getattr(options, "parser", self)
            name = unknown[0].partition("=")[0]
            flags = (flag for action in own._actions for flag in action.option_strings)
            own.error(f"unrecognized arguments: {' '.join(unknown)}{_meant(name, flags)}")
        return options


def _meant(name: str, known: Iterable[str]) -> str:
    import difflib  # most words are spelled as they should be

    def likeness(word: str) -> tuple[float, int]:
        ratio = difflib.SequenceMatcher(None, word, name).ratio()
        return ratio, -abs(len(word) - len(name))

    near = max(difflib.get_close_matches(name, list(known)), key=likeness, default="")
    return f". Did you mean {near}?" if near else ""


def taking(what: str, read: Callable[[str], _Value]) -> Callable[[str], _Value]:
    """Return the `type` of an argument, which says what it takes where a text is none.

    Args:
        what: the words for it.
        read: makes a value of a text; raises ValueError or OverflowError where it is none.
    """

    def value(text: str) -> _Value:
        try:
            return read(text)
        except (ValueError, OverflowError):
            refusal = f"{text!r} is not accepted; it takes {what}"
            raise argparse.ArgumentTypeError(refusal) from None

    return value


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return the `type` of an argument that takes a whole number, both limits among them."""

    def read(text: str) -> int:
        number = int(text)
        if number < least or (most is not None and number > most):
            raise ValueError
        return number

    limits = f"{least} or more" if most is None else f"{least} to {most}"
    return taking(f"a whole number, {limits}", read)


def declare(commands: "argparse._SubParsersAction[Parser]", table: Iterable[Command]) -> None:
    """Declare commands; the arguments of each when it is chosen."""
    for each in table:
        parser = commands.add_parser(each.name, help=each.help)
        parser.defer(functools.partial(_declare, parser, each))


def _declare(parser: Parser, command: Command) -> None:
    module = importlib.import_module(command.module)
    parser.set_defaults(run=module.run, parser=parser, is_quiet=command.is_quiet)
    module.add_arguments(parser)
