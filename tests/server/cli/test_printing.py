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
def test_a_text_fits_so_many_columns(text: str, width: int, shown: str) -> None:
    assert printing.fit(text, width) == shown
    assert printing.columns(shown) <= width


def test_a_text_is_whole_where_there_is_no_width() -> None:
    assert printing.fit("x" * 500 + "\x1b", None) == "x" * 500 + "\\x1b"


def test_a_text_is_padded_by_what_is_seen_of_it() -> None:
    assert printing.padded("漢", 4) == "漢  "
    assert printing.padded("e\u0301", 3) == "e\u0301  "
    assert printing.padded("\x1b", 6) == "\\x1b  "
    assert printing.padded("longer", 4) == "lon…"


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("ascii", b"~ . x > \\xe9\\u6f22~"),
        ("latin-1", b"~ \xb7 \xd7 > \xe9\\u6f22~"),
        ("utf-8", "… · × → é漢…".encode()),
    ],
)
def test_where_an_encoding_lacks_our_signs_plain_ones_stand_for_them(
    encoding: str, written: bytes
) -> None:
    assert "… · × → é漢…".encode(encoding, printing.ERRORS) == written
    assert all(printing.columns(sign) == 1 for sign in printing.PLAIN_SIGNS.values())
