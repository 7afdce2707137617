"""An operator's body is read strictly: what was mistyped is refused, whatever else it says."""

import asyncio

import msgspec
import pytest

from server.access.entry import Entry
from server.api.call import Call
from server.api.gates import Caller
from server.http import exchange as http
from server.http.errors import ApiError
from server.ops import admin


class _Asked(msgspec.Struct):
    on: bool
    note: str | None = None


ASKED = msgspec.json.Decoder(_Asked)
KNOWN = _Asked.__struct_fields__


def call(body: bytes) -> Call:
    """A request with this body."""

    async def read() -> bytes:
        return body

    headers = http.Headers([("content-type", "application/json")])
    request = http.Request("PUT", "/admin/x", headers, "192.0.2.1", read)
    exchange = http.Exchange(request, None, None, None)  # type: ignore[arg-type]  # is not answered
    entry = Entry("r1", "PUT", "/admin/x", "192.0.2.1", 0.0, key="K")
    return Call(exchange, Caller("r1"), [], entry)


def read(body: bytes) -> _Asked:
    return asyncio.run(admin.read(call(body), ASKED, KNOWN))


def test_a_body_is_read_with_what_is_left_out() -> None:
    asked = read(b'{"on":true}')
    assert (asked.on, asked.note) == (True, None)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b'{"on":true,"nte":"x"}', "invalid_request", "nte"),
        (b'{"on":true,"%b":1}' % (b"x" * 200), "invalid_request", "x" * 64),
        (b'{"on":1}', "invalid_request", "on"),
        (b"{}", "invalid_request", "on"),
        (b"", "invalid_json", None),
        (b'"on"', "invalid_json", None),
        (b"[" * admin.BODY_BYTES, "invalid_json", None),
        (b"[" * (admin.BODY_BYTES + 1), "request_too_large", None),
    ],
)
def test_what_is_not_asked_for_so_is_refused(body: bytes, code: str, param: str | None) -> None:
    with pytest.raises(ApiError) as refused:
        read(body)
    assert (refused.value.code, refused.value.param) == (code, param)


def test_the_author_is_who_has_the_key() -> None:
    assert admin.author(call(b"")) == {"req_id": "r1", "key": "K", "client": "192.0.2.1"}
