"""A line of a log: a checksum finds every changed byte, its first member says what it is."""

import json
import zlib
from pathlib import Path
from typing import get_args

import pytest

from engine.log.format import sealed

BODY = b'{"stream":"st_1","seq":0'
LINE = sealed.seal(BODY)


def test_a_line_is_json_and_ends_in_the_checksum_of_what_stands_before_it() -> None:
    assert json.loads(LINE) == {"stream": "st_1", "seq": 0, "crc": f"{zlib.crc32(BODY):08x}"}
    assert LINE.endswith(b"\n")
    assert len(LINE) == len(BODY) + sealed.SEAL_BYTES
    assert sealed.crc_of(LINE) == json.loads(LINE)["crc"]


def test_every_changed_byte_breaks_the_seal() -> None:
    assert sealed.is_sealed(LINE)
    for at in range(len(LINE)):
        changed = LINE[:at] + bytes([LINE[at] ^ 1]) + LINE[at + 1 :]
        assert not sealed.is_sealed(changed), at


@pytest.mark.parametrize("line", [b"", b"\n", BODY, LINE[:-1], LINE + b" ", LINE * 2, LINE[1:]])
def test_what_is_no_whole_line_is_not_sealed(line: bytes) -> None:
    assert not sealed.is_sealed(line)


@pytest.mark.parametrize("kind", get_args(sealed.LineKind))
def test_the_first_member_says_what_a_line_is(kind: sealed.LineKind) -> None:
    line = sealed.seal(b'{"%b":1,"stream":2,"entry":3' % kind.encode())
    assert [each for each in get_args(sealed.LineKind) if sealed.is_kind(line, each)] == [kind]


@pytest.mark.parametrize(
    ("kind", "says"), [("corrupt", "corrupt"), ("later", "written by a later version")]
)
def test_a_problem_says_where_it_is(kind: sealed.ProblemKind, says: str) -> None:
    problem = sealed.Problem(kind, Path("log/events-00000001.jsonl"), 7, 301, "why")
    assert str(problem) == f"log/events-00000001.jsonl:7 (byte 301): {says}: why"
