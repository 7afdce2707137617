"""Row 56 of the fault matrix, whatever the worker: requests that are refused, and their traces."""

from typing import Any, Final, NamedTuple

from tests.faults import scene
from tests.faults.watched import ObservedServe
from tests.support.client import httpclient
from tests.support.process import machinetime

PLAIN: Final = {"model": "gpt-5.4", "messages": [{"role": "user", "content": "hi"}]}


class Refused(NamedTuple):
    """A request that is refused, and how: its status and its code."""

    status: int
    code: str
    method: str = "POST"
    path: str = "/v1/chat/completions"
    body: Any = PLAIN
    headers: tuple[tuple[str, str], ...] = ()


REFUSED: Final = {
    "a field of the wrong type": Refused(400, "", body={**PLAIN, "messages": "hi"}),
    "no messages": Refused(400, "", body={"model": "gpt-5.4"}),
    "not JSON": Refused(415, "unsupported_media_type", headers=(("content-type", "text/plain"),)),
    "no such path": Refused(404, "not_found", path="/v1/chat/completion"),
    "no such method": Refused(405, "method_not_allowed", method="PUT"),
    "a foreign host": Refused(403, "host_not_allowed", headers=(("host", "evil.example"),)),
}


def leaves_a_trace(stage: scene.Stage, name: str) -> None:
    """One record and one line, which say the same as the client is told."""
    refused = REFUSED[name]
    server = stage.server
    request_id = f"refused-{name.replace(' ', '-')}"
    headers = {"x-request-id": request_id, **dict(refused.headers)}
    answer = httpclient.ask(server.base, refused.method, refused.path, refused.body, headers)
    assert answer.status == refused.status, answer
    machinetime.until(lambda: len(records(server, request_id)) == 1, scene.SECOND)
    (record,) = records(server, request_id)
    machinetime.until(lambda: len(lines(server, request_id)) == 1, scene.SECOND)
    (line,) = lines(server, request_id)
    assert (record["status"], line["status"]) == (refused.status, refused.status)
    assert record["code"] == line["code"]
    if refused.code:
        assert record["code"] == refused.code
    assert record["client"] == line["client"] == "127.0.0.1"
    assert line["severity"] == "warning"
    stage.released()


def records(server: ObservedServe, request_id: str) -> list[dict[str, Any]]:
    """The refusals of a request that are on record."""
    found = [each for each in server.records() if each["event"] == "request_rejected"]
    return [each for each in found if each["request_id"] == request_id]


def lines(server: ObservedServe, request_id: str) -> list[dict[str, Any]]:
    """The access lines of a request."""
    return [each for each in server.told("request_ended") if each.get("req_id") == request_id]
