"""One event of an upstream is read strictly, and leniently where that fails."""

import json

import pytest

from engine import redaction
from engine.upstream import decoding


@pytest.mark.parametrize(
    ("data", "member"),
    [
        (b'{"a": "\xff"}', "\ufffd"),
        (b'{"a": NaN}', "nan"),
        (b'{"a": 1e400}', "inf"),
        (b'{"a": 123456789012345678901234567890}', "123456789012345678901234567890"),
    ],
)
def test_sloppy_json_is_read(data: bytes, member: str) -> None:
    chunk, error = decoding.read("message", data, redaction.NONE)
    assert (str(chunk["a"]), error) == (member, None)


@pytest.mark.parametrize("data", [b"oops", b'"text"', b"[1]", b'{"a"'])
def test_what_is_no_object_is_an_error(data: bytes) -> None:
    with pytest.raises(decoding.UpstreamDecodeError) as raised:
        decoding.read("message", data, redaction.NONE)
    assert raised.value.data == data


@pytest.mark.parametrize(
    ("kind", "event", "message"),
    [
        ("message", {"error": {"message": "no"}}, "no"),
        ("message", {"detail": "no"}, "no"),
        ("message", {"object": "error", "message": "no"}, "no"),
        ("error", {"message": "no", "choices": []}, "no"),
        ("message", {"message": "no", "choices": []}, None),
        ("message", {"detail": "no", "usage": {}}, None),
        ("message", {"choices": [], "error": None}, None),
    ],
)
def test_an_error_is_known_in_every_form(
    kind: str, event: dict[str, object], message: str | None
) -> None:
    _, error = decoding.read(kind, json.dumps(event).encode(), redaction.NONE)
    assert (error.message if error is not None else None) == message
