"""JSON-RPC as the app-server speaks it: one JSON object a line, without a `jsonrpc` key.

Theory of operation. Reading has two stages. `LineSplitter` cuts the byte stream into lines, and
`decode` finds out what a line is while it copies none of its `params`: those stay `msgspec.Raw`
until the reader of that method decodes them with a type of its own, by `decode_body`. A line
about a thread that nobody listens to is never decoded at all.

Both sides count their requests for themselves, so an id does not tell a request of theirs from a
reply to ours: the presence of `method` does.

Writing must not trust its input. The app-server drops a line that it cannot parse without an
answer, and exits, with every turn on it, at a byte that is not UTF-8. So an encoded line holds
exactly one newline, at its end, no lone surrogates, no NaN, and no more levels than any JSON
parser reads.
"""

from typing import Final, TypeVar

import msgspec

from machines import errors, parse

MAX_LINE_BYTES: Final = 256 * 2**20
"""Most bytes of a line that is read. A line echoes what was injected, and 64 MiB of that were
seen."""

MAX_NESTING: Final = 100
"""Most levels of a line that is written. serde_json, and so the app-server, stops at 128."""

Id = int | str
"""The id of a request."""

T = TypeVar("T")


class Notification(msgspec.Struct, frozen=True, gc=False):
    """A message that wants no reply."""

    method: str
    params: msgspec.Raw = msgspec.Raw(b"null")


class Request(msgspec.Struct, frozen=True, gc=False):
    """A message that wants a reply with its id, which the sender counts."""

    id: Id
    method: str
    params: msgspec.Raw = msgspec.Raw(b"null")


class Response(msgspec.Struct, frozen=True, gc=False):
    """The reply to a request of ours."""

    id: Id
    result: msgspec.Raw


class ErrorResponse(msgspec.Struct, frozen=True, gc=False):
    """The refusal of a request of ours; `id` is None where the other side could not read it."""

    id: Id | None
    code: int
    message: str
    data: msgspec.Raw = msgspec.Raw(b"null")


Message = Notification | Request | Response | ErrorResponse
"""Any message of a line."""


class LineSplitter:
    """Cuts a byte stream into lines, in time linear in its length however it is cut.

    Args:
        max_bytes: the longest line, without its LF.
    """

    def __init__(self, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._held = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes, without their ends (LF or CRLF) and without
        empty ones.

        Raises:
            TooLarge: a line is over the limit. What came with it is lost, and so is the stream.
        """
        at_most = self._held + len(data)
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines:
            if self._held:
                lines[0] = b"".join([*self._pieces, lines[0]]).rstrip(b"\r")
                self._pieces.clear()
            self._held = 0
        if rest:
            self._pieces.append(rest)
            self._held += len(rest)
        if at_most > self._max_bytes:
            longest = max([self._held, *map(len, lines)])
            if longest > self._max_bytes:
                raise errors.TooLarge(f"a line is longer than {self._max_bytes} bytes")
        if b"\r" not in data and b"" not in lines:
            return lines
        return [bare for line in lines if (bare := line.rstrip(b"\r"))]

    def eof(self) -> bytes:
        """Return the beginning of a line that the end of the stream cut; empty if there is
        none."""
        return b"".join(self._pieces)


class _Line(msgspec.Struct, gc=False):
    """The members that any kind of line has."""

    method: str | None = None
    id: Id | None = None
    params: msgspec.Raw = msgspec.Raw(b"null")
    result: msgspec.Raw = msgspec.Raw()
    error: "_Error | None" = None


class _Error(msgspec.Struct, gc=False):
    code: int
    message: str
    data: msgspec.Raw = msgspec.Raw(b"null")


_LINES: Final = msgspec.json.Decoder(_Line)
_JSON: Final = msgspec.json.Encoder()


def decode(line: bytes) -> Message:
    """Decode a line as one of the four kinds of messages.

    Raises:
        DecodeError: it is not JSON, or no JSON-RPC.
    """
    try:
        found = parse.parse(line, _LINES)
    except parse.ParseError as error:
        raise errors.DecodeError(f"not a JSON-RPC line: {error}") from None
    if found.method is not None:
        if found.id is None:
            return Notification(found.method, found.params)
        return Request(found.id, found.method, found.params)
    if found.error is not None:
        return ErrorResponse(found.id, found.error.code, found.error.message, found.error.data)
    if found.id is None or not found.result:
        raise errors.DecodeError("not a JSON-RPC line: neither a call nor a reply")
    return Response(found.id, found.result)


def decode_body(body: bytes | msgspec.Raw, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode `params`, `result` or `data`, in a second stage, as the type that its method has.

    Raises:
        DecodeError: it is not of that type.
    """
    try:
        return parse.parse(body, decoder)
    except parse.ParseError as error:
        raise errors.DecodeError(f"unexpected body: {error}") from None


class _Call(msgspec.Struct, omit_defaults=True):
    method: str
    id: Id | None = None
    params: object = None


def encode_request(
    rpc_id: Id, method: str, params: object = None, levels: int | None = None
) -> bytes:
    """Encode a request, which asks for a reply.

    Args:
        params: anything that msgspec encodes; `msgspec.Raw` parts must be JSON. None: no params.
        levels: of the params at most, where their maker knows; None: they are counted, which
            takes as long as all the rest where they are megabytes of text.

    Raises:
        TooLarge: it is nested deeper than `MAX_NESTING`. The other `encode_` functions too.
    """
    return _encode(_Call(method, rpc_id, params), levels)


def encode_notification(method: str, params: object = None) -> bytes:
    """Encode a notification, which asks for none."""
    return _encode(_Call(method, params=params))


def encode_result(rpc_id: Id, result: object) -> bytes:
    """Encode the reply to a request of theirs."""
    return _encode({"id": rpc_id, "result": result})


def encode_error(rpc_id: Id, code: int, message: str) -> bytes:
    """Encode the refusal of a request of theirs."""
    return _encode({"id": rpc_id, "error": {"code": code, "message": message}})


def _encode(message: _Call | dict[str, object], levels: int | None = None) -> bytes:
    try:
        try:
            line = _JSON.encode(message)
        except UnicodeEncodeError:
            plain = msgspec.to_builtins(message, enc_hook=parse.value)
            line = _JSON.encode(parse.well_formed(plain))
    except parse.ParseError:  # a Raw part is JSON, so it can only be too deep
        raise errors.TooLarge(f"nested deeper than {MAX_NESTING} levels") from None
    too_deep = parse.is_deeper(line, MAX_NESTING) if levels is None else levels >= MAX_NESTING
    if too_deep:
        raise errors.TooLarge(f"nested deeper than {MAX_NESTING} levels")
    # Only a Raw part can hold what follows: it is copied as it came, and was never decoded.
    if not line.isascii():
        try:
            line.decode()
        except UnicodeDecodeError:
            line = line.decode("utf-8", "replace").encode()
    return line.replace(b"\n", b" ") + b"\n"
