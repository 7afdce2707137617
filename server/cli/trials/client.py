"""The client of the trials: requests with ids of their own, and streams that are read strictly.

It is the standard library's: the official SDK is none of the server's dependencies, and forgives
what other clients do not.
"""

import http.client
import json
import secrets
import ssl
import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from server.cli import health

BODY_BYTES: Final = 16 << 20
"""Most bytes of an answer that are read: a trial asks for a few words."""

LINE_BYTES: Final = 1 << 20
"""Most bytes of a line of a stream."""

DONE: Final = "[DONE]"
"""The data that ends a stream of Chat Completions."""

NETWORK: Final = (OSError, http.client.HTTPException, UnicodeError)
"""Errors of a connection; the last is of a host's name."""

_SHOWN: Final = 300
"""Most characters of a foreign text in a reason."""

Json = dict[str, Any]


class Failed(Exception):
    """Raised by a trial that did not get what the API promises; its text is for the operator."""


class Refused(Failed):
    """Raised for an answer that is no success."""

    def __init__(self, answer: "Answer") -> None:
        super().__init__(describe(answer))
        self.status = answer.status


class Skipped(Exception):
    """Raised by a trial that says nothing of the server; its text says why."""


class Unusable(Failed):
    """Raised where no other trial can succeed: nobody answers, or the key is refused."""


class Answer(NamedTuple):
    """An answer that was read whole."""

    status: int
    body: bytes

    def json(self) -> Json:
        """The body.

        Raises:
            Failed: it is no JSON object.
        """
        return parse(self.body)


class Event(NamedTuple):
    """An event of a stream: its name, empty without one, and its data."""

    name: str
    data: str


class Client:
    """Asks one deployment.

    Args:
        url: of its API, with `/v1`.
        timeout: seconds that a stream may take, whole, and each read of any other answer.

    Attributes:
        request_ids: of the requests since they were last taken away, as the server answered them.
    """

    def __init__(self, url: str, key: str | None, timeout: float) -> None:
        parts = urlsplit(url)
        self._parts = parts
        self._base = parts.path.rstrip("/") or "/v1"
        self._key = key
        self._timeout = timeout
        self.request_ids: list[str] = []

    @property
    def has_key(self) -> bool:
        """Whether requests are sent with a key."""
        return self._key is not None

    def get(self, path: str) -> Answer:
        """Ask for something of the API.

        Raises:
            Failed: there was no answer.
        """
        return self._ask("GET", self._base + path, None, self._key)

    def post(self, path: str, body: Mapping[str, Any], key: str | None = None) -> Answer:
        """Send a request to the API, with another key than the client's where one is given.

        Raises:
            Failed: there was no answer.
        """
        return self._ask("POST", self._base + path, body, key or self._key)

    def health(self) -> Json | None:
        """Return what `/healthz` says; None where it is not offered, or is another's."""
        root = self._base.removesuffix("/v1")
        try:
            answer = self._ask("GET", f"{root}/healthz", None, None)
            return answer.json() if answer.status == 200 else None
        except Failed:
            return None
        finally:
            self.request_ids.pop()

    def stream(self, path: str, body: Mapping[str, Any]) -> Generator[Event, None, None]:
        """The events of a stream, as they come; to close the iterator closes the connection.

        Raises:
            Failed: it is no stream, or one that breaks the format (WHATWG HTML §9.2.6).
        """
        connection = self._connection()
        deadline = time.monotonic() + self._timeout
        try:
            response = self._send(
                connection, "POST", self._base + path, {**body, "stream": True}, self._key
            )
            if response.status != 200:
                raise Refused(Answer(response.status, response.read(BODY_BYTES)))
            kind = response.headers.get_content_type()
            if kind != "text/event-stream":
                raise Failed(f"the answer is {shown(kind)}, and no event stream")
            yield from _events(_lines(response, deadline))
        except NETWORK as error:
            raise Failed(f"the stream broke: {health.reason_of(error)}") from None
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=context)
        return http.client.HTTPConnection(host, port, timeout=self._timeout)

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None, key: str | None
    ) -> Answer:
        connection = self._connection()
        try:
            response = self._send(connection, method, path, body, key)
            return Answer(response.status, response.read(BODY_BYTES))
        except NETWORK as error:
            raise Failed(f"no answer: {health.reason_of(error)}") from None
        finally:
            connection.close()

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        key: str | None,
    ) -> http.client.HTTPResponse:
        request_id = f"smoke-{secrets.token_hex(8)}"
        self.request_ids.append(request_id)
        headers = {"x-request-id": request_id, "accept": "application/json, text/event-stream"}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["content-type"] = "application/json"
        connection.request(method, path, data, headers)
        response = connection.getresponse()
        # Another server, or a proxy before ours, may have given it an id of its own.
        self.request_ids[-1] = shown(response.getheader("x-request-id") or request_id, 128)
        return response


def _lines(response: http.client.HTTPResponse, deadline: float) -> Iterator[str]:
    while True:
        data = response.readline(LINE_BYTES)
        if not data:
            return
        if time.monotonic() > deadline:
            raise Failed("the stream did not end in time")
        if not data.endswith(b"\n"):
            raise Failed(f"the stream ends within a line: {shown(data.decode(errors='replace'))}")
        try:
            yield data[:-1].removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise Failed("a line of the stream is not UTF-8") from None


def _events(lines: Iterator[str]) -> Iterator[Event]:
    name, data = "", list[str]()
    for line in lines:
        field, found, value = line.partition(":")
        value = value.removeprefix(" ")
        if line.startswith(":"):  # a comment: the server's heartbeat
            continue
        if not line:
            if data:
                yield Event(name, "\n".join(data))
            name, data = "", []
        elif found and field == "data":
            data.append(value)
        elif found and field == "event":
            name = value
        elif not found or field not in ("id", "retry"):
            raise Failed(f"a line of the stream is no field of an event: {shown(line)}")
    if name or data:
        raise Failed("the stream ends within an event")


def parse(text: str | bytes) -> Json:
    """Read a JSON object.

    Raises:
        Failed: it is none.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Failed(f"no JSON object: {shown(text)}")
    return found


def table(value: object) -> Json:
    """Return a member that should be an object; an empty one in the place of anything else."""
    return value if isinstance(value, dict) else {}


def rows(value: object) -> list[Json]:
    """Return the objects of a member that should be a list of them."""
    return [table(each) for each in value] if isinstance(value, list) else []


def shown(text: object, limit: int = _SHOWN) -> str:
    """Return the beginning of a foreign text, for a reason."""
    if isinstance(text, bytes):
        text = text[: 4 * limit].decode(errors="replace")
    whole = str(text)
    return whole if len(whole) <= limit else f"{whole[:limit]}…"


def describe(answer: Answer) -> str:
    """Say what an answer is that is no success: its status, and the error's code and message."""
    try:
        error = answer.json().get("error")
    except Failed:
        error = None
    if not isinstance(error, dict):
        return f"status {answer.status}: {shown(answer.body)}"
    return f"status {answer.status}, {shown(error.get('code'))}: {shown(error.get('message'))}"


def expect(holds: object, reason: str) -> None:
    """Go on where something holds.

    Raises:
        Failed: it does not.
    """
    if not holds:
        raise Failed(reason)


def succeed(answer: Answer) -> Json:
    """Return the body of a success.

    Raises:
        Refused: it is none.
        Failed: it is no JSON object.
    """
    if answer.status != 200:
        raise Refused(answer)
    return answer.json()
