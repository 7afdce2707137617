"""Lines in: any split, any length, any garbage. Lines out: nothing the app-server chokes on."""

import json
import random
import time
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from machines import errors
from machines.wire import jsonrpc
from tests.support.machines import feeding

DELTA = (
    b'{"method":"item/agentMessage/delta","params":{"threadId":"0199f3c0-7f5a-7c31-8d52-'
    b'5b6a1e0c9a11","turnId":"0199f3c0-8011-7d20-9b7e-2f6b7d4d11aa","itemId":"msg_0a1b2c3d4e5f'
    b'60718293a4b5c6d7e8f90123456789abcdef0123456789","delta":" \xe6\xbc\xa2\xe5\xad\x97"},'
    b'"emittedAtMs":1790000000000}'
)


class Delta(msgspec.Struct, rename="camel"):
    """The params of a text delta."""

    thread_id: str
    delta: str


def lines_of(pieces: Iterable[bytes]) -> list[bytes]:
    splitter = jsonrpc.LineSplitter()
    return [line for piece in pieces for line in splitter.feed(piece)]


def test_lines_come_out_the_same_for_every_split() -> None:
    data = DELTA + b'\n{"id":1,"result":{}}\r\n\n\r\n  \n' + DELTA + b"\r\n"
    lines = feeding.feed_all_ways(lines_of, data, tail=DELTA)
    assert lines == [DELTA, b'{"id":1,"result":{}}', b"  ", DELTA]


def test_what_was_cut_mid_line_is_there_at_the_end() -> None:
    splitter = jsonrpc.LineSplitter()
    assert splitter.eof() == b""
    assert splitter.feed(b'{"id":1,"result":{}}\n{"id":') == [b'{"id":1,"result":{}}']
    assert splitter.feed(b'2,"res') == []
    assert splitter.eof() == b'{"id":2,"res'


def test_a_line_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    def run(pieces: Iterable[bytes]) -> list[bytes] | str:
        splitter = jsonrpc.LineSplitter(max_bytes=10)
        try:
            return [line for piece in pieces for line in splitter.feed(piece)]
        except errors.TooLarge as refused:
            return str(refused)

    short = feeding.feed_all_ways(run, b"0123456789\n" * 3, tail=b"0123456789")
    assert short == [b"0123456789"] * 3
    long = feeding.feed_all_ways(run, b"ok\n01234567890\nok\n")
    assert long == "a line is longer than 10 bytes"
    assert run([b"0123456789", b"0"]) == "a line is longer than 10 bytes"


@pytest.mark.parametrize("size", [65_536 + 1, 2**20, 16 * 2**20])
def test_a_long_line_takes_linear_time_in_small_pieces(size: int) -> None:
    line = b'"' + b"x" * (size - 2) + b'"'
    splitter = jsonrpc.LineSplitter()
    data = line + b"\n"
    begun = time.process_time()
    lines = [
        found
        for start in range(0, len(data), 4096)
        for found in splitter.feed(data[start : start + 4096])
    ]
    assert time.process_time() - begun < 2, "joining piece by piece takes many times as long"
    assert lines == [line]
    assert splitter.eof() == b""


def test_a_notification() -> None:
    message = jsonrpc.decode(DELTA)
    assert isinstance(message, jsonrpc.Notification)
    assert message.method == "item/agentMessage/delta"
    delta = jsonrpc.decode_body(message.params, msgspec.json.Decoder(Delta))
    assert delta == Delta("0199f3c0-7f5a-7c31-8d52-5b6a1e0c9a11", " 漢字")


def test_a_notification_without_params() -> None:
    assert plain(b'{"method":"initialized"}') == ("Notification", "initialized", None)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"id":0,"method":"m","params":[1]}', ("Request", 0, "m", [1])),
        (b'{"method":"m","params":{},"id":"a-1"}', ("Request", "a-1", "m", {})),
        (b'{"jsonrpc":"2.0","method":"m","id":null}', ("Notification", "m", None)),
        (b'{"method":"error","params":{"error":1}}', ("Notification", "error", {"error": 1})),
        (b'{"id":7,"result":{"a":[1.50]}}', ("Response", 7, {"a": [1.5]})),
        (b' {"id" : -7 , "result" : null } \r', ("Response", -7, None)),
        (b'{"id":7,"result":true,"error":null}', ("Response", 7, True)),
        (
            b'{"error":{"code":-32001,"message":"Server overloaded"},"id":7}',
            ("ErrorResponse", 7, -32001, "Server overloaded", None),
        ),
        (
            b'{"error":{"code":-32602,"message":"m","data":{"max":1}},"id":null}',
            ("ErrorResponse", None, -32602, "m", {"max": 1}),
        ),
    ],
)
def test_a_line_is_what_its_keys_say(line: bytes, expected: tuple[Any, ...]) -> None:
    assert plain(line) == expected


def plain(line: bytes) -> tuple[Any, ...]:
    """A decoded line as its kind and fields, the raw ones parsed."""
    message = jsonrpc.decode(line)
    fields = (
        json.loads(bytes(field)) if isinstance(field, msgspec.Raw) else field
        for field in msgspec.structs.astuple(message)
    )
    return (type(message).__name__, *fields)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b'[{"method":"m"}]',
        b"{}",
        b'{"id":1}',
        b'{"result":1}',
        b'{"id":true,"result":1}',
        b'{"id":1.5,"method":"m"}',
        b'{"method":null,"params":{}}',
        b'{"method":7}',
        b'{"id":1,"error":"no"}',
        b'{"id":1,"error":{"code":1}}',
        b'{"method":"m","params":{',
        b'{"method":"m"} {"method":"m"}',
        b'{"method":"\xff"}',
        b'{"method":"\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"WARNING: proceeding, even though we could not create PATH aliases",
        b'{"method":"m","params":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_garbage_is_refused_by_name(line: bytes) -> None:
    with pytest.raises(errors.DecodeError, match="not a JSON-RPC line"):
        jsonrpc.decode(line)


@pytest.mark.parametrize("body", [b'{"delta":1}', b"null", b'{"threadId":"\xff","delta":""}'])
def test_a_body_of_another_type_is_refused(body: bytes) -> None:
    with pytest.raises(errors.DecodeError, match="unexpected body"):
        jsonrpc.decode_body(msgspec.Raw(body), msgspec.json.Decoder(Delta))


@pytest.mark.parametrize("seed", range(20))
def test_any_bytes_are_a_message_or_a_decode_error(seed: int) -> None:
    """Invariant: nothing but a message or a `DecodeError` comes out of any line."""
    rng = random.Random(seed)
    grammar = [b'{"method":', b'"id":1', b'"result":', b'"error":{', b'"params":', b'"m"', b"\\u"]
    grammar += [b"{", b"}", b"[", b"]", b",", b":", b'"', b"null", b"-1e9", b"\xe6\xbc", b"d800"]
    decoder = msgspec.json.Decoder(Delta)
    for _ in range(500):
        line = bytearray(b"".join(rng.choices(grammar, k=rng.randint(1, 12))))
        if rng.random() < 0.5:
            line = bytearray(DELTA)
            for _ in range(rng.randint(1, 4)):
                line[rng.randrange(len(line))] = rng.randrange(256)
        try:
            message = jsonrpc.decode(bytes(line))
            if isinstance(message, jsonrpc.Notification):
                jsonrpc.decode_body(message.params, decoder)
        except errors.DecodeError:
            continue


def test_lines_are_written_as_the_app_server_has_them() -> None:
    request = jsonrpc.encode_request(3, "turn/start", {"threadId": "t", "input": []})
    assert request == b'{"method":"turn/start","id":3,"params":{"threadId":"t","input":[]}}\n'
    assert jsonrpc.encode_request("a", "x") == b'{"method":"x","id":"a"}\n'
    assert jsonrpc.encode_notification("initialized") == b'{"method":"initialized"}\n'
    assert jsonrpc.encode_notification("initialized", None) == b'{"method":"initialized"}\n'
    assert jsonrpc.encode_notification("m", [1]) == b'{"method":"m","params":[1]}\n'
    assert jsonrpc.encode_result(0, {"success": True}) == b'{"id":0,"result":{"success":true}}\n'
    assert jsonrpc.encode_result(0, None) == b'{"id":0,"result":null}\n'
    refusal = jsonrpc.encode_error(0, -32601, "unsupported")
    assert refusal == b'{"id":0,"error":{"code":-32601,"message":"unsupported"}}\n'


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("\udc00", "\ufffd"),
        ("\udc00\ud800", "\ufffd\ufffd"),
        ("\ud83d\ude00", "😀"),
        ("line\nline\r\u2028\x00\x7f", "line\nline\r\u2028\x00\x7f"),
    ],
)
def test_text_is_whole_on_the_wire_and_only_lone_surrogates_change(
    text: str, written: str
) -> None:
    params = {text: [text], "raw": msgspec.Raw(b'{"k":1}'), "struct": Delta(text, "d")}
    line = jsonrpc.encode_request(1, "m", params)
    assert line.count(b"\n") == 1
    assert json.loads(line)["params"] == {
        written: [written],
        "raw": {"k": 1},
        "struct": {"threadId": written, "delta": "d"},
    }


def test_raw_parts_cannot_break_a_line() -> None:
    schema = msgspec.Raw(b'{\n  "type": "string",\r\n  "description": "\xff \xe6\xbc\xa2"\n}')
    line = jsonrpc.encode_notification("m", {"schema": schema})
    assert line.count(b"\n") == 1
    params = json.loads(line.decode("utf-8"))["params"]
    assert params == {"schema": {"type": "string", "description": "\ufffd 漢"}}


def test_what_is_no_number_becomes_null() -> None:
    line = jsonrpc.encode_notification("m", [float("nan"), float("inf"), -float("inf")])
    assert line == b'{"method":"m","params":[null,null,null]}\n'


def nested(levels: int) -> Any:
    """Lists in objects in lists, `levels` deep."""
    value: Any = 'leaf [{ \\ " ]}'
    for level in range(levels):
        value = [value] if level % 2 else {"k": value}
    return value


@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: raw(value)], ids=["", "raw"])
def test_the_deepest_line_passes_and_one_level_more_does_not(wrap: Any) -> None:
    deepest = nested(jsonrpc.MAX_NESTING - 1)
    line = jsonrpc.encode_notification("m", wrap(deepest))
    assert json.loads(line)["params"] == deepest
    with pytest.raises(errors.TooLarge, match="nested deeper than 100 levels"):
        jsonrpc.encode_notification("m", wrap([deepest]))
    with pytest.raises(errors.TooLarge, match="nested deeper than 100 levels"):
        jsonrpc.encode_result(1, [wrap([]), wrap(nested(200)), "\ud800"])


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


@pytest.mark.parametrize("text", ["", "\ud800"])
def test_a_bottomless_part_is_too_large(text: str) -> None:
    bottomless = msgspec.Raw(b"[" * 100_000 + b"]" * 100_000)
    with pytest.raises(errors.TooLarge):
        jsonrpc.encode_notification("m", [text, bottomless])


def test_many_brackets_are_not_many_levels() -> None:
    flat = [{"text": "[[[{{{" * 100, "list": []} for _ in range(1000)]
    assert json.loads(jsonrpc.encode_notification("m", flat))["params"] == flat


TEXT = st.text(st.characters(), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_any_value_becomes_one_line_of_utf_8(value: Any) -> None:
    """Invariant: one newline, at the end, of well-formed UTF-8 and JSON without NaN."""
    line = jsonrpc.encode_request(1, "m", value)
    assert line.index(b"\n") == len(line) - 1
    written = json.loads(line.decode("utf-8"), parse_constant=pytest.fail)
    json.dumps(written, ensure_ascii=False).encode("utf-8")


def test_levels_that_are_known_are_not_counted() -> None:
    deep = msgspec.Raw(b"[" * 200 + b"]" * 200)
    assert jsonrpc.encode_request(1, "m", {"a": deep}, jsonrpc.MAX_NESTING - 1).count(b"[") == 200
    for levels in (None, jsonrpc.MAX_NESTING):
        with pytest.raises(errors.TooLarge):
            jsonrpc.encode_request(1, "m", {"a": deep}, levels)
