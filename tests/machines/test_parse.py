"""Reading JSON: one depth limit wherever a text is cut and however deep the stack is."""

import json
import random
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from machines import parse

ROOT = Path(__file__).parents[2]

leaves = st.none() | st.integers(-9, 9) | st.text(alphabet='[]{}"\\x,:\u00e9\n', max_size=6)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[{"\\'), inner)
)


def levels(value: Any) -> int:
    """The depth of a value, counted the plain way."""
    match value:
        case dict():
            return 1 + max(map(levels, value.values()), default=0)
        case list():
            return 1 + max(map(levels, value), default=0)
    return 0


def nested(depth: int) -> bytes:
    """A text of this many levels, of both kinds."""
    pairs, odd = divmod(depth, 2)
    return b"[" * odd + b'[{"a":' * pairs + b"1" + b"}]" * pairs + b"]" * odd


@given(values, st.integers(0, 6), st.randoms(use_true_random=False))
def test_depth_is_what_it_is_however_a_text_is_cut(
    value: Any, limit: int, chance: random.Random
) -> None:
    text = json.dumps(value, ensure_ascii=False).encode()
    scan = parse.DepthScan(limit)
    rest = text
    while rest:
        size = chance.choice((1, 2, 3, 7, 100))
        scan.feed(rest[:size])
        rest = rest[size:]
    assert scan.exceeded is (levels(value) > limit)
    assert parse.is_deeper(text, limit) is (levels(value) > limit)
    assert parse.is_deeper(text.decode(), limit) is (levels(value) > limit)
    assert parse.is_deeper(msgspec.Raw(text), limit) is (levels(value) > limit)


@pytest.mark.parametrize("depth", [1, 127, 128])
def test_what_is_as_deep_as_the_limit_is_read(depth: int) -> None:
    assert levels(parse.value(nested(depth))) == depth
    assert levels(parse.lenient(nested(depth))) == depth


@pytest.mark.parametrize("depth", [129, 200, 900, 5_000, 1_000_000])
def test_what_is_deeper_is_refused(depth: int) -> None:
    for read in (parse.value, parse.lenient):
        with pytest.raises(parse.ParseError) as raised:
            read(nested(depth))
        assert raised.value.fault == "depth"


def test_a_part_has_the_levels_that_are_left() -> None:
    decoder = msgspec.json.Decoder()
    assert parse.parse(nested(120), decoder, depth=120)
    with pytest.raises(parse.ParseError):
        parse.parse(nested(121), decoder, depth=120)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b'{"a":', "syntax"),
        (b"", "syntax"),
        (b'{"\xff":1}', "encoding"),
        ('{"\ud800":1}', "encoding"),
        (b'{"a":"x"}', "type"),
        (b"[1]", "type"),
        (b"[" * 300, "depth"),
        (b"[" * 129 + b"]" * 129, "depth"),
    ],
)
def test_what_is_wrong_has_a_word(text: bytes | str, fault: str) -> None:
    decoder = msgspec.json.Decoder(dict[str, int])
    with pytest.raises(parse.ParseError) as raised:
        parse.parse(text, decoder)
    assert raised.value.fault == fault


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":[]}', True),
        (" {} ", True),
        ("[{}]", False),
        ('{"a":', False),
        ("{} {}", False),
        ("", False),
        ('{"a":' + "[" * 127 + "]" * 127 + "}", True),
        ('{"a":' + "[" * 128 + "]" * 128 + "}", False),
    ],
)
def test_an_object_is_told_from_what_is_none(text: str, expected: bool) -> None:
    assert parse.is_object(text) is expected


@given(st.lists(st.sampled_from(("a", "é", "\ud83d", "\ude00", "\U0001f600"))).map("".join))
def test_halves_of_pairs_are_what_the_codec_makes_of_them(text: str) -> None:
    codec = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert parse.well_formed({text: [text]}) == {codec: [codec]}


def test_a_lenient_reader_mends_what_can_be_mended() -> None:
    assert parse.lenient(b'{"a":"\xff"}') == {"a": "\ufffd"}
    assert parse.lenient(b'["\\ud83d\\ude00", "\\ud83d", NaN]')[:2] == ["\U0001f600", "\ufffd"]
    with pytest.raises(parse.ParseError):
        parse.lenient(b"nothing")


READS = """
import sys
from machines import parse
sys.setrecursionlimit(int(sys.argv[1]))
parse.allow_depth()
def at(height, text):
    if height:
        return at(height - 1, text)
    try:
        parse.value(text)
        return "read"
    except parse.ParseError as error:
        return error.fault
for depth in (100, 128, 129, 300, 3000, 100000):
    for height in (0, 700):
        print(depth, at(height, b"[" * depth + b"]" * depth))
"""


@pytest.mark.parametrize(
    "text",
    [
        '{"a":[1,{"b":"}"}],"c\\"":"\\\\"}',
        "[[],{}]",
        '{"a":"[{"}',
        ' { "漢" : [ ] }',
        '{"a":"\\u007d"}',
    ],
)
def test_a_text_is_closed_at_its_last_bracket_however_it_is_cut(text: str) -> None:
    data = text.encode()
    for start in range(1, len(data)):
        scan = parse.DepthScan()
        scan.feed(data[:start])
        assert scan.is_closed == (not data[:start].strip())
        scan.feed(data[start:])
        assert scan.is_closed


def test_the_stack_decides_nothing() -> None:
    def outcome(limit: int) -> str:
        command = [sys.executable, "-c", READS, str(limit)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    few = outcome(200)
    assert few == outcome(1000) == outcome(20_000)
    assert few.split("\n")[:6] == [
        "100 read",
        "100 read",
        "128 read",
        "128 read",
        "129 depth",
        "129 depth",
    ]  # fmt: skip -- a line a depth


@given(values, st.integers(1, 6), st.randoms(use_true_random=False))
def test_items_are_counted_however_a_text_is_cut(
    value: Any, limit: int, chance: random.Random
) -> None:
    text = json.dumps(value, ensure_ascii=False).encode()
    items = len(value) if isinstance(value, dict | list) else 0
    scan = parse.ItemScan()
    rest = text
    while rest:
        size = chance.choice((1, 2, 3, 7, 100))
        scan.feed(rest[:size])
        rest = rest[size:]
    assert scan.commas == max(0, items - 1)
    for form in (text, text.decode(), msgspec.Raw(text)):
        assert run(parse.scan_items(form, limit)) is (items > limit)


def run(scan: Generator[None, None, bool]) -> bool:
    """The result of a scan."""
    try:
        while True:
            next(scan)
    except StopIteration as end:
        return bool(end.value)


@pytest.mark.parametrize("scan", [parse.scan_depth, parse.scan_items])
def test_a_long_scan_is_interrupted_often_and_ends_early(scan: Any) -> None:
    long = b"[" + b"[1,[2]]," * 100_000 + b"1]"
    slices = -(-len(long) // parse.SLICE_BYTES)
    assert sum(1 for _ in scan(long, 100_001)) == slices
    assert sum(1 for _ in scan(long, 1_000_000)) == 0
    assert sum(1 for _ in scan(long, 2)) == 0


@pytest.mark.parametrize(
    ("text", "kind", "fault"),
    [
        (b'{"a":', dict[str, msgspec.Raw], "syntax"),
        (b'{"a":"\xff"}', dict[str, str], "encoding"),
        (b"[1]", dict[str, msgspec.Raw], "type"),
        (b'{"a":' + b"[" * 1_000_000, dict[str, msgspec.Raw], "depth"),
    ],
)
def test_a_fault_around_what_is_left_raw_is_named(text: bytes, kind: Any, fault: str) -> None:
    with pytest.raises(parse.ParseError) as error:
        parse.parse_outer(text, msgspec.json.Decoder(kind))
    assert error.value.fault == fault


def test_what_is_left_raw_may_be_deeper() -> None:
    text = b'{"a":' + nested(200) + b"}"
    found = parse.parse_outer(text, msgspec.json.Decoder(dict[str, msgspec.Raw]))
    assert bytes(found["a"]) == nested(200)
