"""What is read part by part is what one call of a decoder reads, and is refused for the same."""

import json
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from msgspec import Meta

from engine import slices
from server.chat import request as chatbodies
from server.http import decoding, errors, reading
from tests.server.http.test_mismatch import JSON, KINDS

LIMIT = 1000


def outcome(read: Any) -> Any:
    """A value, or the refusal of it."""
    try:
        return read()
    except errors.ApiError as error:
        return error.code, error.param, error.message


@pytest.fixture
def tiny_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything cut up that has parts."""
    monkeypatch.setattr(reading, "PIECE_BYTES", 0)


def cut_up(kind: Any, data: bytes, limit: int = LIMIT, depth: int = 128) -> Any:
    return slices.at_once(reading.Reader(kind).read(msgspec.Raw(data), "x", limit, depth))


CUT = [kind for kind in KINDS if "Node" not in str(kind)]
"""All but a type of its own parts, which no request has."""


@pytest.mark.usefixtures("tiny_pieces")
@pytest.mark.parametrize("kind", CUT, ids=str)
def test_the_parts_make_up_the_same(kind: Any) -> None:
    decoder = msgspec.json.Decoder(kind)

    @given(JSON)
    def same(value: Any) -> None:
        data = json.dumps(value).encode()
        whole = outcome(lambda: decoding.decode(decoder, data, "x"))
        assert outcome(lambda: cut_up(kind, data)) == whole

    same()


MESSAGES = list[chatbodies.ChatMessage]


def messages(count: int, **fields: Any) -> bytes:
    return json.dumps([{"role": "user", "content": "hi", **fields}] * count).encode()


def test_a_large_value_is_read_in_many_steps() -> None:
    data = messages(1000)
    steps = reading.reader(MESSAGES).read(data, "messages", 1000)
    count = 0
    try:
        while True:
            next(steps)
            count += 1
    except StopIteration as end:
        assert end.value == msgspec.json.decode(data, type=MESSAGES)
    assert count >= 1000


def test_the_path_of_what_is_wrong_goes_down_to_the_part() -> None:
    data = messages(1000)[:-1] + b',{"role":"user","content":[{"type":"text"}]}]'
    with pytest.raises(errors.ApiError) as refused:
        slices.at_once(reading.reader(MESSAGES).read(data, "messages", 2000))
    assert refused.value.param == "messages[1000].content[0].text"


@pytest.mark.parametrize(
    ("kind", "data", "code", "message"),
    [
        (
            MESSAGES,
            messages(1001),
            "array_above_max_length",
            (
                "Invalid 'x': array too long. Expected an array with maximum length 1000,"
                " but got a longer array instead."
            ),
        ),
        (
            dict[str, float],
            json.dumps({f"{n:040}": n for n in range(1001)}).encode(),
            "object_above_max_properties",
            (
                "Invalid 'x': too many properties. Expected an object with at most 1000"
                " properties, but got a larger object instead."
            ),
        ),
        (
            chatbodies.ChatMessage,
            json.dumps({f"{n:040}": n for n in range(1001)}).encode(),
            "object_above_max_properties",
            None,
        ),
        (
            Annotated[list[str], Meta(max_length=4)],
            json.dumps(["a" * 10_000] * 5).encode(),
            "invalid_request",
            (
                "Invalid 'x': array too long. Expected an array with maximum length 4,"
                " but got an array with length 5 instead."
            ),
        ),
    ],
    ids=["array", "object", "struct", "bounds"],
)
def test_too_many_parts_are_refused_before_they_are_made(
    kind: Any, data: bytes, code: str, message: str | None
) -> None:
    with pytest.raises(errors.ApiError) as refused:
        cut_up(kind, data)
    assert (refused.value.code, refused.value.param) == (code, "x")
    assert message in (None, refused.value.message)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (str | None, b"[" * 200 + b"1," * 100_000 + b"1" + b"]" * 200),
        (list[str], b'{"a":' + b"[" * 200 + b"1," * 100_000 + b"1" + b"]" * 200 + b"}"),
    ],
)
def test_what_cannot_be_meant_is_refused_for_what_it_begins_with(kind: Any, data: bytes) -> None:
    with pytest.raises(errors.ApiError) as refused:
        cut_up(kind, data)
    assert refused.value.message.startswith("Invalid type for 'x': expected a")


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.usefixtures("tiny_pieces")
@pytest.mark.parametrize(
    ("kind", "before", "after", "around"),
    [
        (msgspec.Raw, b"", b"", 0),
        (list[msgspec.Raw], b"[1,", b"]", 1),
        (dict[str, msgspec.Raw], b'{"a":', b"}", 1),
        (chatbodies.ResponseFormat, b'{"type":"json_schema","other":', b"}", 1),
        (
            chatbodies.ResponseFormat,
            b'{"type":"json_schema","json_schema":{"name":"n","schema":',
            b"}}",
            2,
        ),
        (MESSAGES, b'[{"role":"user","other":[1,', b"]}]", 3),
    ],
    ids=["raw", "item", "member", "unknown", "schema", "message"],
)
def test_depth_is_counted_from_the_outside(
    kind: Any, before: bytes, after: bytes, around: int
) -> None:
    cut_up(kind, before + nested(20) + after, depth=20 + around)
    with pytest.raises(errors.ApiError) as refused:
        cut_up(kind, before + nested(21) + after, depth=20 + around)
    assert refused.value.code == "invalid_json"
    assert "nested too deeply" in refused.value.message


def test_a_body_is_cut_into_its_members() -> None:
    members = slices.at_once(reading.members_of(b' {"a": [1], "b":null} ', 2))
    assert {name: bytes(value) for name, value in members.items()} == {"a": b"[1]", "b": b"null"}


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"", "invalid_json", "The body could not be parsed as JSON."),
        (b'{"a":1', "invalid_json", "The body could not be parsed as JSON."),
        (b"[1,2,3,4]", "invalid_json", "The body must be a JSON object."),
        (b'{"a":' + nested(500)[:900], "invalid_json", decoding.NOT_JSON["depth"]),
        (b'{"a":' + nested(100)[:150], "invalid_json", "The body could not be parsed as JSON."),
        (
            b'{"a":1,"b":2,"c":3}',
            "object_above_max_properties",
            (
                "Invalid 'body': too many properties. Expected an object with at most 2"
                " properties, but got a larger object instead."
            ),
        ),
    ],
)
def test_a_body_that_cannot_be_cut_is_refused(body: bytes, code: str, message: str) -> None:
    with pytest.raises(errors.ApiError) as refused:
        slices.at_once(reading.members_of(body, 2))
    assert (refused.value.code, refused.value.message) == (code, message)
    assert refused.value.param is None
