"""A setting's value: read from text, refused in words without a secret, shown as one writes it."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from engine import redaction
from server.config import declared, values
from server.config.declared import Setting


class Fields(msgspec.Struct, kw_only=True):
    """A setting of each kind."""

    switch: Annotated[bool, Setting("X_SWITCH", "x")] = False
    count: Annotated[declared.Count, Setting("X_COUNT", "x")] = 0
    size: Annotated[declared.Size, Setting("X_SIZE", "x")] = 1
    wait: Annotated[declared.Deadline, Setting("X_WAIT", "x")] = 1
    factor: Annotated[declared.Factor, Setting("X_FACTOR", "x")] = 1.0
    word: Annotated[Literal["one", "two"], Setting("X_WORD", "x")] = "one"
    names: Annotated[declared.Names, Setting("X_NAMES", "x")] = ()
    token: Annotated[declared.Token | None, Setting("X_TOKEN", "x", derived="made")] = None
    between: Annotated[declared.Verbatim, Setting("X_BETWEEN", "x")] = "x"
    where: Annotated[Path | None, Setting("X_WHERE", "x")] = None


ITEMS = {field.name: declared.declare(field) for field in msgspec.structs.fields(Fields)}


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("switch", "Yes", True),
        ("switch", "0", False),
        ("count", "17", 17),
        ("size", "2KiB", 2048),
        ("size", "1 mib", 1 << 20),
        ("wait", "1", 1),
        ("factor", "0.5", 0.5),
        ("word", "TWO", "two"),
        ("names", " a, b ,,c", ("a", "b", "c")),
        ("token", "sk-1", "sk-1"),
        ("between", r"a\n\t\\", "a\n\t\\"),
        ("where", "/a/b", Path("/a/b")),
    ],
)
def test_a_text_is_the_value_it_stands_for(field: str, text: str, value: object) -> None:
    assert values.parse(ITEMS[field], text) == value


@pytest.mark.parametrize(
    ("field", "text", "says"),
    [
        ("switch", "maybe", "'maybe' is not accepted; it takes true, false, yes, no, 1, 0"),
        ("count", "-1", "'-1' is not accepted; it takes a whole number, 0 or more"),
        ("count", "1KiB", "'1KiB' is not accepted"),
        ("size", "2GiB", "'2GiB' is out of range, 1 to 1073741824"),
        ("size", "1TiB", "it takes bytes, KiB, MiB or GiB, 1 to 1 GiB"),
        ("wait", "0", "'0' is out of range"),
        ("factor", "much", "it takes a number, 0 to 1000"),
        ("word", "three", "it takes one, two"),
        ("token", "with space", f"{redaction.HIDDEN} is not accepted"),
        ("word", "me@here", f"{redaction.HIDDEN} is not accepted"),
        ("between", "", "it takes text, in it"),
    ],
)
def test_what_is_not_accepted_is_refused_in_words(field: str, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        values.parse(ITEMS[field], text)


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("switch", True, "true"),
        ("count", 17, "17"),
        ("size", 1 << 20, "1 MiB"),
        ("size", 1500, "1500"),
        ("names", ("a", "b"), "a,b"),
        ("names", (), "none"),
        ("token", "sk-1", redaction.HIDDEN),
        ("token", None, "made"),
        ("between", "a\n\t\\", r"a\n\t\\"),
        ("where", None, "none"),
    ],
)
def test_a_value_is_shown_as_one_would_write_it(field: str, value: Any, shown: str) -> None:
    assert values.show(ITEMS[field], value) == shown


@pytest.mark.parametrize(
    ("field", "value"),
    [("switch", True), ("count", 17), ("size", 3 << 20), ("word", "two"), ("between", "\n\\n")],
)
def test_what_is_shown_is_read_as_the_same(field: str, value: object) -> None:
    assert values.parse(ITEMS[field], values.show(ITEMS[field], value)) == value
