"""What a command prints steers no terminal, whoever wrote it."""

import unicodedata

import pytest
from hypothesis import given, strategies as st

from server.cli import printing


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("plain, größer, 漢字 😀", "plain, größer, 漢字 😀"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\r\nst_forged  open", "a\\r\\nst_forged  open"),
        ("a\u202egpj.exe", "a\\u202egpj.exe"),
        ("\u2066hidden\u2069", "\\u2066hidden\\u2069"),
        ("two\u2028lines\x85", "two\\u2028lines\\x85"),
        ("\x7f\x9b31m", "\\x7f\\x9b31m"),
        ("\ufeff\u200b", "\\ufeff\\u200b"),
        ("a\u00a0b\u3000c", "a\u00a0b\u3000c"),
        ("\ud800", "\\ud800"),
    ],
)
def test_examples(text: str, printed: str) -> None:
    assert printing.printable(text) == printed


@given(st.text())
def test_no_control_or_format_character_is_left(text: str) -> None:
    printed = printing.printable(text)
    assert not {"Cc", "Cf", "Cs", "Zl", "Zp"} & set(map(unicodedata.category, printed))
    assert printing.printable(printed) == printed


def test_lines_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    printing.say("one\n", "", "two")
    printing.say_each(iter(["three\r"]))
    assert capsys.readouterr().out == "one\\n\n\ntwo\nthree\\r\n"


@pytest.mark.parametrize("text", ["a word " * 40, "/a/path/" * 40, "\x1b[31m\n" * 40, "short"])
def test_a_folded_text_fits_and_steers_nothing(text: str) -> None:
    first, *rest = printing.folded(text, 8)
    assert not first.startswith(" ")
    assert all(line.startswith(" " * 8) for line in rest)
    assert all(len(line) <= printing.COLUMNS and line.isprintable() for line in (first, *rest))


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("short", 9, "short"),
        ("exactly9!", 9, "exactly9!"),
        ("ten chars.", 9, "ten char…"),
        ("漢字漢字", 8, "漢字漢字"),
        ("漢字漢字", 7, "漢字漢…"),
        ("a\x1bb", 9, "a\\x1bb"),
    ],
)
def test_a_text_fits(text: str, width: int, shown: str) -> None:
    assert printing.fit(text, width) == shown
    assert printing.columns(shown) <= width
