"""Blocks are found however their text is cut, and not one character is lost, doubled or late."""

import itertools
import json
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pytest
from hypothesis import given, strategies as st

from machines.tools import blocks as usetool, obsidian
from machines.tools.blocks import Aborted, Block, Piece, Started, Text
from tests.support.machines import feeding
from tests.support.process import growth

READ = '<use_tool name="readNote"><notePath>a.md</notePath></use_tool>'
A_NOTE = Block(READ, "readNote", '{"notePath":"a.md"}')


class Hermes(NamedTuple):
    """What stands between `<tool_call>` and its closing tag."""

    name: str
    arguments: dict[str, str]


def read_hermes(raw: str) -> obsidian.Call | None:
    """The call in a block of JSON, of the kind that some open models write."""
    body = raw.removeprefix("<tool_call>").removesuffix("</tool_call>")
    try:
        call = Hermes(**json.loads(body))
    except (TypeError, ValueError):
        return None
    return obsidian.Call(call.name, json.dumps(call.arguments))


HERMES = usetool.Pattern("<tool_call", "</tool_call>", read_hermes)
BOTH = (usetool.USE_TOOL, HERMES)


def joined(pieces: Iterable[Piece]) -> list[Piece]:
    """Pieces with adjacent texts made one."""
    result: list[Piece] = []
    for piece in pieces:
        last = result[-1] if result else None
        if isinstance(piece, Text) and isinstance(last, Text):
            result[-1] = Text(last.text + piece.text)
        else:
            result.append(piece)
    return result


def written(pieces: Iterable[Piece]) -> str:
    """The text that pieces were made of."""
    parts = []
    for piece in pieces:
        if isinstance(piece, Block):
            parts.append(piece.raw)
        elif isinstance(piece, Text | Aborted):
            parts.append(piece.text)
    return "".join(parts)


def cut_at(text: str, places: Iterable[int]) -> list[str]:
    """A text in pieces."""
    edges = [0, *sorted(places), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


def scan(
    cut: Iterable[str], patterns: tuple[usetool.Pattern, ...] = (usetool.USE_TOOL,)
) -> list[Piece]:
    """All that a scanner makes of a text; what has come out and what is held is always all."""
    scanner = usetool.Scanner(patterns)
    pieces: list[Piece] = []
    fed = came = 0
    for text in cut:
        new = scanner.feed(text)
        assert joined(new) == list(new), "adjacent texts of one feed are one"
        fed, came = fed + len(text), came + len(written(new))
        assert scanner.held == fed - came
        pieces += new
    pieces += scanner.end()
    assert scanner.held == 0
    assert scanner.end() == ()
    return joined(pieces)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("no tag 漢字 👩‍👩‍👧", [Text("no tag 漢字 👩‍👩‍👧")]),
        (f"見て{READ}。", [Text("見て"), Started(), A_NOTE, Text("。")]),
        (READ + READ, [Started(), A_NOTE, Started(), A_NOTE]),
        (f"<{READ}</use_tool>", [Text("<"), Started(), A_NOTE, Text("</use_tool>")]),
        (f"<use_tool{READ}", [Text("<use_tool"), Started(), A_NOTE]),
    ],
)
def test_a_block_comes_out_whole_between_the_texts_around_it(
    text: str, expected: list[Piece]
) -> None:
    assert feeding.feed_all_ways(scan, text) == expected


@pytest.mark.parametrize(
    "raw",
    [
        "<use_tool name='x'/>",
        '<use_tool name="x" />',
        "<use_tool\nname='x'\t></use_tool>",
        "<use_tool><name>x</name></use_tool>",
        "<use_tool name='x' title='/>'></use_tool>",
        "<use_tool name='x' title=\"it's > '\"/>",
        "<use_tool name='x' title='\"' id='>'></use_tool>",
        "<use_tool name='x'>/></use_tool>",
        "<use_tool name='x'>'\"</use_tool>",
        "<use_tool name='x'>a <use_toolbox> </use_tool </use_tool>",
    ],
)
def test_a_tag_ends_at_its_own_bracket_and_a_block_with_its_tag(raw: str) -> None:
    pieces = feeding.feed_all_ways(scan, f"{raw}>")
    assert [type(piece) for piece in pieces] == [Started, Block, Text]
    block = pieces[1]
    assert isinstance(block, Block)
    assert (block.raw, block.name) == (raw, "x")


@pytest.mark.parametrize(
    "text",
    [
        *("<", "<use_tool", "<use_toolbox>", "<use_tool\u00a0>", "<use-tool>", "<USE_TOOL>"),
        *("</use_tool>", "< use_tool>", "<<<use_too<use_tool", "a < b << c", "<tool_call>"),
    ],
)
def test_what_is_no_opening_tag_is_text(text: str) -> None:
    assert feeding.feed_all_ways(scan, text) == [Text(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"<use_tool>a{READ}", [Started(), Aborted("nested", "<use_tool>a"), Started(), A_NOTE]),
        (f"<use_tool {READ}", [Started(), Aborted("nested", "<use_tool "), Started(), A_NOTE]),
        (
            f"<use_tool name='x{READ}",
            [Started(), Aborted("nested", "<use_tool name='x"), Started(), A_NOTE],
        ),
        ("<use_tool/>.", [Started(), Aborted("malformed", "<use_tool/>"), Text(".")]),
        (
            f"<use_tool name='x></use_tool>{READ}",
            [Started(), Aborted("malformed", "<use_tool name='x></use_tool>"), Started(), A_NOTE],
        ),
        ("<use_tool>", [Started(), Aborted("unclosed", "<use_tool>")]),
        ("a<use_tool ", [Text("a"), Started(), Aborted("unclosed", "<use_tool ")]),
        ("<use_tool/", [Started(), Aborted("unclosed", "<use_tool/")]),
        (READ[:-1], [Started(), Aborted("unclosed", READ[:-1])]),
        ("<use_tool><use_tool", [Started(), Aborted("unclosed", "<use_tool><use_tool")]),
    ],
)
def test_a_block_that_is_none_comes_out_as_it_was_written(
    text: str, expected: list[Piece]
) -> None:
    assert feeding.feed_all_ways(scan, text) == expected


@pytest.mark.parametrize("over", [-1, 0, 1, 12])
def test_a_block_past_the_limit_goes_on_as_text(over: int) -> None:
    limit = usetool.MAX_BLOCK
    body = "漢" * (limit + over - len("<use_tool name='x'></use_tool>"))
    raw = f"<use_tool name='x'>{body}</use_tool>"
    expected: list[Piece] = [Started(), Block(raw, "x", body)]
    if over > 0:
        expected = [Started(), Aborted("too_large", raw[:limit]), Text(raw[limit:])]
    near = range(limit - 14, limit + 16)
    for places in ([], *([place] for place in near[::5]), [5, 99, limit - 3], near):
        pieces = scan(cut_at(f"a{raw}{READ}", places))
        assert pieces == [Text("a"), *expected, Started(), A_NOTE]


@pytest.mark.parametrize(
    ("mark", "offset", "reason"),
    [
        ("<use_tool>", -10, "nested"),
        ("<use_tool>", -9, "nested"),
        ("<use_tool>", -8, "too_large"),
        ("/>", -2, "malformed"),
        ("/>", -1, "too_large"),
        ("'", -1, "too_large"),
        ("'", 0, "too_large"),
    ],
)
def test_what_straddles_the_limit_counts_if_it_is_whole_before(
    mark: str, offset: int, reason: usetool.Reason
) -> None:
    head = f"<use_tool {'a' * (usetool.MAX_BLOCK + offset - 10)}"
    tail = f"{mark} <use_tool name='x'/>'"
    pieces = scan([head + tail])
    cut = {"nested": head, "malformed": head + mark, "too_large": head + mark[:-offset]}[reason]
    assert pieces[:2] == [Started(), Aborted(reason, cut)]
    assert written(pieces) == head + tail
    assert scan([head, *tail]) == pieces
    assert scan([head + tail[:1], tail[1:]]) == pieces


CALL = '<tool_call>{"name":"f","arguments":{"a":"1 > 2"}}</tool_call>'
NO_CALL = f"<tool_call>{READ}</use_tool></tool_call>"
NOT_ITS_OWN = "<use_tool name='x'><tool_call></tool_call></use_tool>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{CALL}.", [Started(), Block(CALL, "f", '{"a": "1 > 2"}'), Text(".")]),
        (NO_CALL + READ, [Started(), Aborted("malformed", NO_CALL), Started(), A_NOTE]),
        (
            f"{NOT_ITS_OWN}<tool_call",
            [Started(), Block(NOT_ITS_OWN, "x", '{"tool_call":""}'), Text("<tool_call")],
        ),
        (
            f"<tool_call> {CALL[:12]}",
            [
                *(Started(), Aborted("nested", "<tool_call> ")),
                *(Started(), Aborted("unclosed", "<tool_call>{")),
            ],
        ),
    ],
)
def test_each_pattern_has_its_own_tags(text: str, expected: list[Piece]) -> None:
    assert feeding.feed_all_ways(lambda cut: scan(cut, BOTH), text) == expected


def test_a_block_is_announced_and_given_at_once() -> None:
    scanner = usetool.Scanner()
    assert scanner.feed("see <use_tool") == (Text("see "),)
    assert scanner.feed(" ") == (Started(),)
    assert scanner.feed("name='x'/") == ()
    assert scanner.held == len("<use_tool name='x'/")
    assert scanner.feed(">") == (Block("<use_tool name='x'/>", "x", "{}"),)
    assert scanner.feed("<use_tool name='x'></use_tool") == (Started(),)
    assert scanner.feed("> <use_too") == (
        Block("<use_tool name='x'></use_tool>", "x", "{}"),
        Text(" "),
    )
    assert scanner.feed("th>") == (Text("<use_tooth>"),)
    assert scanner.feed("") == ()
    assert scanner.feed("<") == ()
    assert scanner.feed("") == ()
    assert scanner.end() == (Text("<"),)


def test_text_without_a_tag_is_passed_on_and_not_copied() -> None:
    text = "plain 漢字" * 100
    (piece,) = usetool.Scanner().feed(text)
    assert isinstance(piece, Text)
    assert piece.text is text


SHREDS = st.sampled_from(
    [
        *("<use_tool", "<use_tool>", "<use_tool ", "<use_tool name='x'>", '<use_tool name="x"/>'),
        *("</use_tool>", "</use_tool", "<use_toolbox>", "<use_", "tool", "<", "</", ">", "/>"),
        *("/", "'", '"', " ", "\n", "<name>y</name>", "<a>1 < 2</a>", '{"a":[1]}', READ),
        *("<tool_call>", "<tool_call", '{"name":"f","arguments":{}}', "</tool_call>"),
        *("a", "漢字", "👩‍👩‍👧", "é"),
    ]
)
"""What blocks are made of, and what breaks them."""


def opens(text: str, at: int, pattern: usetool.Pattern) -> bool:
    """Whether an opening tag stands there."""
    end = at + len(pattern.opening)
    return text.startswith(pattern.opening, at) and text[end : end + 1] in tuple(" \t\r\n/>")


def by_definition(text: str, patterns: tuple[usetool.Pattern, ...]) -> list[Piece]:
    """The same from the whole text, one character after the other."""
    pieces: list[Piece] = []
    at = 0
    while at < len(text):
        pattern = next((each for each in patterns if opens(text, at, each)), None)
        if pattern is None:
            pieces.append(Text(text[at]))
            at += 1
            continue
        piece = block_by_definition(text[at:], pattern)
        pieces += [Started(), piece]
        at += len(written([piece]))
    return joined(pieces)


def block_by_definition(text: str, pattern: usetool.Pattern) -> Piece:
    """What the block that a text begins with turns out to be."""
    quote, in_tag, raw = "", True, ""
    for end in range(len(pattern.opening), len(text)):
        character = text[end]
        if opens(text, end, pattern):
            return Aborted("nested", text[:end])
        if text.startswith(pattern.closing, end):
            raw = text[: end + len(pattern.closing)]
        elif in_tag and quote:
            quote = "" if character == quote else quote
        elif in_tag and character in "'\"":
            quote = character
        elif in_tag and character == ">":
            in_tag = False
            raw = text[: end + 1] if text[end - 1] == "/" else ""
        if raw:
            call = pattern.read(raw)
            return Block(raw, call.name, call.arguments) if call else Aborted("malformed", raw)
    return Aborted("unclosed", text)


@given(
    st.lists(SHREDS, max_size=25).map("".join),
    st.lists(st.integers(0, 400), max_size=12),
    st.sampled_from([(usetool.USE_TOOL,), (HERMES,), BOTH]),
)
def test_any_cut_of_any_text_gives_what_the_definition_says(
    text: str, cuts: list[int], patterns: tuple[usetool.Pattern, ...]
) -> None:
    expected = by_definition(text, patterns)
    assert written(expected) == text
    assert scan([text], patterns) == expected
    assert scan(cut_at(text, cuts), patterns) == expected
    assert scan(text, patterns) == expected


@given(st.lists(SHREDS | st.text(max_size=4), max_size=10))
def test_text_is_held_exactly_while_it_may_begin_a_tag(shreds: list[str]) -> None:
    scanner = usetool.Scanner(BOTH)
    fed = ""
    for shred in shreds:
        pieces = scanner.feed(shred)
        fed += shred
        if any(isinstance(piece, Started) for piece in pieces):
            return
        openings = [pattern.opening for pattern in BOTH]
        begins = {opening[:end] for opening in openings for end in range(len(opening) + 1)}
        assert scanner.held == max(len(begin) for begin in begins if fed.endswith(begin))


@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, id=name)
        for name, make in {
            "brackets": lambda n: "<" * n,
            "prefixes": lambda n: "<use_tool" * (n // 9),
            "unclosed": lambda n: "<use_tool>" + "😀" * n,
            "unclosed tag": lambda n: "<use_tool " + "a'\"" * (n // 3),
            "unclosed quote": lambda n: "<use_tool '" + ">" * n,
            "brackets in a block": lambda n: "<use_tool>" + "<" * n,
            "half closings": lambda n: "<use_tool>" + "</use_tool" * (n // 10),
            "nested": lambda n: "<use_tool>" * (n // 10),
            "blocks": lambda n: READ * (n // len(READ)),
            "a large block": lambda n: f"<use_tool name='x'><a>{'<' * n}</a></use_tool>",
        }.items()
    ],
)
def test_time_is_linear_in_the_text(make: Callable[[int], str], size: int) -> None:
    def prepare(length: int) -> Callable[[], object]:
        text = make(length)
        cut = cut_at(text, range(size, len(text), size))
        scanner = usetool.Scanner(BOTH)

        def run() -> None:
            for piece in cut:
                scanner.feed(piece)
            scanner.end()

        return run

    growth.check_linear(prepare, 25_000)
