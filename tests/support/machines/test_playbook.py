"""A playbook that differs says where, and one that is forgotten is not taken for a success."""

import gc
import sys
from typing import Any

import pytest

from machines.events import (
    TextDelta,
    TurnFinished,
)
from machines.outputs import (
    Content,
    Done,
    Finish,
    Head,
    Role,
)
from tests.support.machines.playbook import Playbook, opened


def test_a_script_that_is_kept_passes_and_can_go_on() -> None:
    book = Playbook(opened()) >> TextDelta("Hi") << Head() << Role() << Content("Hi")
    assert book
    assert book >> TurnFinished("stop") << Finish("stop") << Done()
    assert book.stream.ended


def test_a_difference_is_shown_in_two_columns() -> None:
    book = Playbook(opened()) >> TextDelta("Hi") << Head() << Content("Ho")
    with pytest.raises(AssertionError) as failure:
        bool(book)
    assert str(failure.value).splitlines() == [
        "   expected                     | got",
        ">> TextDelta(text='Hi', choice=0)",
        "<< Head()                       | Head()",
        "!! Content(text='Ho', choice=0) | Role(choice=0)",
        "!!                              | Content(text='Hi', choice=0)",
    ]


@pytest.mark.parametrize("extra", [[], [Done(), Done()]], ids=["missing", "too much"])
def test_every_output_must_be_stated(extra: list[Done]) -> None:
    book = Playbook(opened()) >> TurnFinished("stop") << Head() << Role() << Finish("stop")
    for output in extra:
        book <<= output
    with pytest.raises(AssertionError, match="!!"):
        bool(book)


def test_a_playbook_nobody_asserts_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    book = Playbook(opened()) >> TextDelta("Hi")
    del book
    gc.collect()
    (caught,) = unraisable
    assert str(caught.exc_value) == "a playbook was never asserted"
