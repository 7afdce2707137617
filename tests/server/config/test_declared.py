"""What is declared of a setting is read from its field's annotations."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest

from server.config import declared, settings
from server.config.declared import Setting


class Fields(msgspec.Struct, kw_only=True):
    """Settings of every form."""

    many: Annotated[declared.Size, Setting("X_MANY", "how many", alias="X_OLD")] = 4
    word: Annotated[Literal["a", "b"], Setting("X_WORD", "which")] = "a"
    maybe: Annotated[Path | None, Setting("X_MAYBE", "where")] = None
    names: Annotated[declared.Names, Setting("X_NAMES", "whose")] = ()
    needed: Annotated[declared.Token, Setting("X_KEY", "a key", derived="made at the start")]


ITEMS = {field.name: declared.declare(field) for field in msgspec.structs.fields(Fields)}


def test_its_names_are_the_preferred_one_first() -> None:
    assert ITEMS["many"].names == ("X_MANY", "X_OLD")
    assert ITEMS["word"].names == ("X_WORD",)


@pytest.mark.parametrize(
    ("field", "kind", "choices", "default"),
    [
        ("many", int, (), 4),
        ("word", str, ("a", "b"), "a"),
        ("maybe", Path, (), None),
        ("names", tuple, (), ()),
        ("needed", str, (), None),
    ],
)
def test_its_type_choices_and_default(
    field: str, kind: type, choices: tuple[str, ...], default: object
) -> None:
    item = ITEMS[field]
    assert (item.type, item.choices, item.default) == (kind, choices, default)


def test_its_kind_is_that_of_its_annotation() -> None:
    assert (ITEMS["many"].kind.unit, ITEMS["many"].kind.maximum) == ("bytes", declared.GIB)
    assert ITEMS["needed"].kind.secret
    assert ITEMS["maybe"].kind == declared.Kind()


def test_every_field_of_the_configuration_is_declared_or_has_no_setting() -> None:
    fields = msgspec.structs.fields(settings.Config)
    named = [declared.declare(field) for field in fields if "Setting" in repr(field.type)]
    assert len(named) > 50
    assert all(item.setting.meaning and item.setting.name for item in named)
