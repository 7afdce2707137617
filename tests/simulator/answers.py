"""Reads what a client got: HTTP responses, the frames of a stream, and what they add up to.

It is strict, and independent of the server's own code: a response that is not as HTTP has it, or
a frame that is not as the API has it, is a `Broken` rule.
"""

from typing import Any, Final

import msgspec

Json = dict[str, Any]

DONE: Final = b"[DONE]"


class Broken(Exception):
    """Raised for bytes that no client should ever get."""


class Answer(msgspec.Struct):
    """One response.

    Attributes:
        body: without its HTTP framing, as far as it came.
        whole: whether it came to its end.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def streams(self) -> bool:
        """Whether it is a stream of events."""
        return self.headers.get("content-type", "").startswith("text/event-stream")


def read(data: bytes, ended: bool) -> list[Answer]:
    """The responses in what a connection brought; the last may be unfinished.

    Args:
        ended: whether no more will come.
    """
    found: list[Answer] = []
    while data:
        head, separator, rest = data.partition(b"\r\n\r\n")
        if not separator:
            break
        status, headers = _head(head)
        if 100 <= status < 200:
            data = rest
            continue
        body, whole, data = _body(status, headers, rest)
        found.append(Answer(status, headers, body, whole))
        if not whole:
            break
    if ended and data and not found:
        raise Broken(f"the connection brought {data[:80]!r}")
    return found


def _head(head: bytes) -> tuple[int, dict[str, str]]:
    line, *rest = head.decode("latin-1").split("\r\n")
    version, _, status = line.partition(" ")
    if version != "HTTP/1.1" or not status[:3].isdigit():
        raise Broken(f"not a status line: {line!r}")
    headers: dict[str, str] = {}
    for each in rest:
        name, separator, value = each.partition(": ")
        if not separator or name.lower() in headers:
            raise Broken(f"a header that is none, or comes twice: {each!r}")
        headers[name.lower()] = value
    return int(status[:3]), headers


def _body(status: int, headers: dict[str, str], data: bytes) -> tuple[bytes, bool, bytes]:
    """A response's body, whether it is whole, and what comes after it."""
    if headers.get("transfer-encoding") == "chunked":
        return _chunks(data)
    if status == 204:
        return b"", True, data
    if "content-length" not in headers:
        raise Broken("a response of no length")
    length = int(headers["content-length"])
    return data[:length], len(data) >= length, data[length:]


def _chunks(data: bytes) -> tuple[bytes, bool, bytes]:
    body = b""
    while True:
        size, separator, rest = data.partition(b"\r\n")
        if not separator:
            return body, False, b""
        length = int(size, 16)
        if len(rest) < length + 2:
            return body + rest[:length], False, b""
        if rest[length : length + 2] != b"\r\n":
            raise Broken("a chunk without its end")
        body += rest[:length]
        data = rest[length + 2 :]
        if length == 0:
            return body, True, data


class Choice(msgspec.Struct):
    """One choice of an answer, put together; one that was never told of has no finish."""

    content: str = ""
    refusal: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str, str]] = []
    finish: str | None = None


class Heard(msgspec.Struct):
    """What a client made of an answer.

    Attributes:
        done: whether it was told that the answer is whole.
        error: the code of the failure that it was told of instead.
        usage_mark: what was said of the counts: `unknown` or `estimated`.
        frames: data frames, or bodies.
    """

    choices: list[Choice]
    done: bool = False
    error: str | None = None
    usage: dict[str, Any] | None = None
    usage_mark: str | None = None
    frames: int = 0
    comments: int = 0

    @property
    def estimate(self) -> int | None:
        """The tokens of the answer by the server's own measure; None where it has calls, which
        may stand in its text as well."""
        if any(choice.calls for choice in self.choices):
            return None
        return sum(
            _tokens(choice.content + choice.refusal) + _tokens(choice.reasoning)
            for choice in self.choices
        )


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // 4)


def usage_mark(comment: bytes) -> str | None:
    """What a comment says of counts; None where it says something else."""
    before, _, mark = comment.decode().partition(": x-turntape-usage: ")
    return mark if not before and mark else None


def heard_body(answer: Answer, n: int, full: bool = True) -> Heard:
    """What a whole JSON answer says.

    Args:
        full: whether there are as many choices as were asked for.
    """
    body = msgspec.json.decode(answer.body)
    if "error" in body:
        return Heard([], error=error_of(body) or "", frames=1)
    if answer.status != 200:
        raise Broken(f"status {answer.status} with {sorted(body)}")
    given = {choice["index"]: _message(choice) for choice in body["choices"]}
    due = list(range(n)) if full else sorted(given.keys() & set(range(n)))
    if not due or [choice["index"] for choice in body["choices"]] != due:
        raise Broken("not the choices that were asked for")
    if any(choice.finish is None for choice in given.values()):
        raise Broken("a choice without a finish")
    choices = [given.get(index, Choice()) for index in range(n)]
    mark = answer.headers.get("x-turntape-usage")
    return Heard(choices, True, None, body["usage"], mark, 1)


def _message(choice: dict[str, Any]) -> Choice:
    message = choice["message"]
    calls = [
        (call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls") or ()
    ]
    if "function_call" in message:
        called = message["function_call"]
        calls.append(("", called["name"], called["arguments"]))
    thoughts = message.get("reasoning_content", "")
    refusal = message.get("refusal") or ""
    return Choice(message["content"] or "", refusal, thoughts, calls, choice["finish_reason"])


def error_of(body: dict[str, Any]) -> str | None:
    """The code in an error's envelope."""
    error = body["error"]
    if set(body) != {"error"} or not set(error) >= {"message", "type", "param", "code"}:
        raise Broken(f"not an error's envelope: {body}")
    if "example.com" in str(error["message"]):
        raise Broken(f"a host's name in {error['message']!r}")
    code: str | None = error["code"]
    return code


class Frames:
    """Follows one stream's frames by the wire's rules.

    Args:
        n: choices that were asked for.
        wants_usage: whether a usage chunk was.
        legacy: whether calls come as `function_call`.
        full: whether every choice has an end; else one may have begun and nothing more.
    """

    def __init__(self, n: int, wants_usage: bool, legacy: bool, full: bool) -> None:
        self.heard = Heard([Choice() for _ in range(n)])
        self._n = n
        self._wants_usage = wants_usage
        self._legacy = legacy
        self._full = full
        self._roles: list[int] = []
        self._constant: tuple[Any, ...] | None = None

    def read(self, body: bytes, whole: bool) -> Heard:
        """All of a body; the last message of one that is not whole may be cut."""
        *messages, rest = body.split(b"\n\n")
        if whole and rest:
            raise Broken(f"the body ends with {rest[:80]!r}")
        for message in messages:
            if message.startswith(b": "):
                self._comment(message)
            else:
                self._data(message)
        return self.heard

    def _comment(self, message: bytes) -> None:
        if self._over:
            raise Broken("a comment after the end")
        self.heard.comments += 1
        self.heard.usage_mark = usage_mark(message) or self.heard.usage_mark

    @property
    def _over(self) -> bool:
        return self.heard.done or self.heard.error is not None

    def _data(self, message: bytes) -> None:
        field, _, data = message.partition(b": ")
        if field != b"data" or b"\n" in data or b"\r" in data:
            raise Broken(f"not one data line: {message[:80]!r}")
        if self._over:
            raise Broken(f"something after the end: {message[:80]!r}")
        self.heard.frames += 1
        if data == DONE:
            self._done()
            return
        frame = msgspec.json.decode(data)
        if "error" in frame:
            self._failed(frame)
        else:
            self._chunk(frame)

    def _done(self) -> None:
        if self._is_unfinished:
            raise Broken("[DONE] before a finish")
        if self._wants_usage and self.heard.usage is None:
            raise Broken("[DONE] without usage")
        self.heard.done = True

    @property
    def _is_unfinished(self) -> bool:
        """Whether there is no choice yet, or one that has not ended and may not be missing."""
        choices = [self.heard.choices[index] for index in self._roles]
        ended = [choice for choice in choices if choice.finish is not None]
        missing = 0 if self._full else choices.count(Choice())
        return not ended or len(ended) + missing < len(choices)

    def _failed(self, frame: dict[str, Any]) -> None:
        if self.heard.usage is not None:
            raise Broken("an error after usage")
        self.heard.error = error_of(frame) or ""
        finished = all(choice.finish is not None for choice in self.heard.choices)
        if finished and self.heard.error != "internal_error":
            raise Broken("an error after the finish")

    def _chunk(self, frame: dict[str, Any]) -> None:
        constant = tuple(frame[name] for name in ("id", "object", "created", "model"))
        self._constant = self._constant or constant
        if constant != self._constant or constant[1] != "chat.completion.chunk":
            raise Broken(f"{constant} where {self._constant} was")
        if self.heard.usage is not None:
            raise Broken("a chunk after usage")
        if not frame["choices"]:
            self._usage(frame)
            return
        if ("usage" in frame) != self._wants_usage or frame.get("usage") is not None:
            raise Broken("a chunk's usage is not as it was asked for")
        (piece,) = frame["choices"]
        self._piece(piece["index"], piece["delta"], piece["finish_reason"])

    def _usage(self, frame: dict[str, Any]) -> None:
        if not self._wants_usage:
            raise Broken("usage that nobody asked for")
        if self._is_unfinished:
            raise Broken("usage before a finish")
        self.heard.usage = frame["usage"]

    def _piece(self, index: int, delta: dict[str, Any], finish: str | None) -> None:
        if "role" in delta:
            is_due = index == len(self._roles)
            if delta != {"role": "assistant", "content": ""} or not is_due:
                raise Broken(f"role {delta} of choice {index} was not due")
            self._roles.append(index)
            return
        if len(self._roles) != self._n:
            raise Broken("a delta before every role")
        choice = self.heard.choices[index]
        if choice.finish is not None:
            raise Broken("something after the finish")
        if finish is not None:
            if delta:
                raise Broken("a finish with content")
            choice.finish = finish
            return
        if "reasoning" in delta and delta["reasoning"] == delta.get("reasoning_content"):
            del delta["reasoning"]  # an upstream's own name for it, beside the usual one
        if len(delta) != 1:
            raise Broken(f"a delta of {sorted(delta)}")
        self._add(choice, *next(iter(delta.items())))

    def _add(self, choice: Choice, field: str, value: Any) -> None:
        match field:
            case "content":
                choice.content += value
            case "refusal":
                choice.refusal += value
            case "reasoning_content":
                choice.reasoning += value
            case "tool_calls" if not self._legacy:
                (call,) = value
                self._call(choice, call["index"], call.get("id"), call["function"])
            case "function_call" if self._legacy:
                self._call(choice, len(choice.calls) - ("name" not in value), "", value)
            case _:
                raise Broken(f"a delta of {field}")

    def _call(self, choice: Choice, index: int, call_id: str | None, said: Json) -> None:
        """A call, or a further piece of the arguments of one."""
        if "name" in said:
            if index != len(choice.calls) or call_id is None:
                raise Broken(f"call {said} is not the next")
            choice.calls.append((call_id, said["name"], said["arguments"]))
            return
        if not 0 <= index < len(choice.calls) or call_id or not said["arguments"]:
            raise Broken(f"a piece {said} of no call")
        known, name, arguments = choice.calls[index]
        choice.calls[index] = (known, name, arguments + said["arguments"])
