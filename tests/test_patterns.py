"""No regular expression of ours takes more than linear time, whatever it is given.

Every pattern of the product is found, in its modules and in its calls of `re`. It is given what is
worst for patterns, in the way it is used: long runs of each of its own characters, repeats of what
it matches, and the same with something missing. What takes longest of a short input is then
measured with a long one, and with one twice as long.
"""

import ast
import importlib
import itertools
import re
import re._constants as constants  # type: ignore[import-not-found]  # no types
import re._parser as parser  # type: ignore[import-not-found]  # no types
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pytest

from machines.tools import blocks as usetool
from server import diagnostics
from tests.tools.sources import PRODUCT, Module

pytestmark = pytest.mark.slow

SHORT: Final = 4_000
"""Characters that every input has."""

LONG: Final = 25_000
"""Characters of what takes longest."""

SUSPICIOUS_S: Final = 0.005
"""What takes longer for `SHORT` is measured with no more: it may be the square of it."""

TIMES: Final = 8
"""How much longer the second input is. Twice would do for a quiet machine; beside a busy one the
longer text falls out of a cache that the shorter one fits in."""

MOST: Final = 20
"""How much longer it may take: 8 is linear, 64 is the square."""

METHODS: Final = ("match", "fullmatch", "search", "sub", "findall", "finditer", "split")
"""How patterns are used."""


_USED: Final = re.compile(rf"\.(?:{'|'.join(METHODS)})\b")
"""What a module has in its text that uses one: the others need not be parsed."""


class Use(NamedTuple):
    """A pattern, and how it is used."""

    where: str
    pattern: re.Pattern[Any]
    method: str


def literal_uses(module: Module) -> Iterator[Use]:
    """Calls of `re` with a pattern that stands there."""
    if not _USED.search(module.source):
        return
    for node in ast.walk(module.tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and ast.unparse(node.func.value) == "re"
            and node.func.attr in METHODS
            and isinstance(node.args[0], ast.Constant)
        ):
            arguments = (*node.args, *(keyword.value for keyword in node.keywords))
            ascii_only = any(ast.unparse(each) == "re.ASCII" for each in arguments)
            pattern: Any = node.args[0].value
            compiled = re.compile(pattern, re.ASCII if ascii_only else 0)
            yield Use(f"{module.name}:{node.lineno}", compiled, node.func.attr)


def methods_by_name() -> dict[str, set[str]]:
    """The methods that are called on everything by a name: `_TAG` of a module, `_opening` of any
    object."""
    found: dict[str, set[str]] = {}
    for module in PRODUCT:
        if not _USED.search(module.source):
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and node.attr in METHODS:
                name = ast.unparse(node.value).rsplit(".", 1)[-1].split("[")[0]
                found.setdefault(f"{module.name}.{name}", set()).add(node.attr)
                found.setdefault(name, set()).add(node.attr)
    return found


def patterns_in(value: object) -> Iterator[re.Pattern[Any]]:
    """The patterns that a module's variable holds."""
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        yield from itertools.chain.from_iterable(map(patterns_in, value.values()))
    elif isinstance(value, list | tuple):
        yield from itertools.chain.from_iterable(map(patterns_in, value))


def named_patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    """Every pattern that is compiled once, by its name."""
    for module in PRODUCT:
        if module.name.split(".")[0] != "bench" and not module.name.endswith("__main__"):
            loaded = importlib.import_module(module.name)
            for name, value in vars(loaded).items():
                for pattern in patterns_in(value):
                    yield f"{module.name}.{name}", pattern
    objects = {
        "machines.tools.blocks.Scanner": usetool.Scanner(),
        "machines.tools.blocks._Open": usetool._Open(usetool.USE_TOOL),
        "server.diagnostics._Scrubber": diagnostics._Scrubber(("sk-abc", "x/y z")),
    }
    for where, holder in objects.items():
        for name, value in vars(holder).items():
            for pattern in patterns_in(value):
                yield f"{where}.{name}", pattern


def every_use() -> list[Use]:
    """Every pattern in every way it is used."""
    methods = methods_by_name()
    found: dict[tuple[Any, int, str], Use] = {}
    for where, pattern in named_patterns():
        called = methods.get(where) or methods.get(where.rsplit(".", 1)[-1])
        for method in sorted(called or {"match", "search", "sub"}):  # the same in every process
            found.setdefault((pattern.pattern, pattern.flags, method), Use(where, pattern, method))
    for use in itertools.chain.from_iterable(map(literal_uses, PRODUCT)):
        found.setdefault((use.pattern.pattern, use.pattern.flags, use.method), use)
    return list(found.values())


def characters(tree: Any) -> Iterator[str]:
    """A character for each place of a parsed pattern, in its order."""
    for kind, value in tree:
        if kind is constants.LITERAL:
            yield chr(value)
        elif kind is constants.IN:
            yield one_of(value)
        elif kind in (constants.ANY, constants.NOT_LITERAL):
            yield "a"
        else:
            for part in parts(value):
                yield from characters(part)


def parts(value: Any) -> Iterator[Any]:
    """The patterns that a part of a pattern holds."""
    if isinstance(value, parser.SubPattern):
        yield value
    elif isinstance(value, list | tuple):
        yield from itertools.chain.from_iterable(map(parts, value))


def one_of(members: Any) -> str:
    """A character that a set has; of one that says what it has not, one that it may have."""
    kind, value = members[0]
    if kind is constants.NEGATE:
        return "~"
    if kind is constants.LITERAL:
        return chr(value)
    if kind is constants.RANGE:
        return chr(value[0])
    return {constants.CATEGORY_DIGIT: "1", constants.CATEGORY_SPACE: " "}.get(value, "a")


def inputs(pattern: re.Pattern[Any], size: int) -> Iterator[str]:
    """What is worst for a pattern, each of about this many characters."""
    matched = "".join(characters(parser.parse(pattern.pattern, pattern.flags)))
    alphabet = sorted({*matched, "a", "~", "\n"})
    units = [*alphabet, *map("".join, itertools.permutations(alphabet[:9], 2))]
    units += [matched[start:end] for start in (0, 1) for end in range(2, len(matched) + 1)]
    for unit in dict.fromkeys(filter(None, units)):
        run = unit * (size // len(unit) + 1)
        yield from (run, f"{run}\x00", f"\x00{run}")
    for cut in range(1, len(matched) + 1):
        for character in alphabet[:12]:
            yield f"{matched[:cut]}{character * size}\x00"


def seconds(use: Use, text: str) -> float:
    """CPU time that a use takes for a text."""
    value: Any = text if isinstance(use.pattern.pattern, str) else text.encode()
    call = getattr(use.pattern, use.method)
    begun = time.thread_time()
    if use.method == "sub":
        call("", value) if isinstance(value, str) else call(b"", value)
    elif use.method == "finditer":
        for _ in call(value):
            pass
    else:
        call(value)
    return time.thread_time() - begun


def best(use: Use, text: str) -> float:
    return min(seconds(use, text) for _ in range(5))


def worst(use: Use) -> str | None:
    """The start of an input for which a pattern is not linear, if there is one."""
    took = sorted(
        ((seconds(use, text), number) for number, text in enumerate(inputs(use.pattern, SHORT))),
        reverse=True,
    )
    for first, number in took[:3]:
        size = SHORT // TIMES if first > SUSPICIOUS_S else LONG
        short, long = (nth_input(use, number, each) for each in (size, TIMES * size))
        # What is not linear is so every time; the machine beside it is busy now and then.
        if all(best(use, long) > MOST * best(use, short) for _ in range(3)):
            return short[:100]
    return None


def nth_input(use: Use, number: int, size: int) -> str:
    return next(itertools.islice(inputs(use.pattern, size), number, None))


USES: Final = every_use()


def test_the_patterns_are_found() -> None:
    found = {use.where for use in USES}
    assert len(USES) > 40
    for where in ("machines.parse._STRING", "machines.tools.blocks._Open._searches"):
        assert where in found
    assert {use.method for use in USES} > {"match", "search", "sub"}


@pytest.mark.parametrize(
    ("pattern", "method"),
    [(r"\s+$", "search"), (r"<a>.*?</a>", "sub"), (r"(\w+)-\1", "search")],
)
def test_a_pattern_that_is_not_linear_is_noticed(pattern: str, method: str) -> None:
    assert worst(Use("here", re.compile(pattern), method)) is not None


@pytest.mark.parametrize("use", USES, ids=lambda use: f"{use.where}-{use.method}")
def test_time_is_linear_in_the_text(use: Use) -> None:
    assert worst(use) is None
