"""HAR 1.2, the format in which browsers and proxies keep what went over HTTP.

Source: http://www.softwareishard.com/blog/har-12-spec/. Members of our own begin with `_`.
"""

import base64
import datetime
from collections.abc import Sequence
from typing import Any, BinaryIO

import msgspec

from engine.log.find import stories
from server.cli.log.formats import answer as answers, asking
from server.http import exchange as http
from server.version import VERSION

UNKNOWN = -1
"""In the place of a number that is not known, as the format has it."""


def write(found: Sequence[stories.Story], file: BinaryIO) -> None:
    """Write streams as one HAR."""
    log = {
        "version": "1.2",
        "creator": {"name": "turntape", "version": VERSION},
        "entries": [entry for story in found if (entry := _entry(story)) is not None],
        "comment": "Host and headers of the requests are not in a log: they are placeholders.",
    }
    file.write(msgspec.json.encode({"log": log}))


def _entry(story: stories.Story) -> dict[str, Any] | None:
    asked = asking.asked(story)
    if asked is None:
        return None
    missing = list(asked.missing)
    try:
        got = answers.answer(story)
    except answers.NoAnswer as error:
        missing.append(f"The answer is not there: {error}.")
        got = answers.Answer(0, [], False, (), whole=False, masked=False)
    if got.masked:
        missing.append("The texts of the answer are masked.")
    if got.problem:
        missing.append(f"The answer is told in part: {got.problem}.")
    if not got.whole:
        missing.append("The answer did not come to its end.")
    told = asked.told
    end_ms = max(told.ending.at_us, got.pieces[-1].at_us if got.pieces else 0) / 1000
    first_ms = got.pieces[0].at_us / 1000 if got.pieces else end_ms
    return {
        "startedDateTime": _time(told.request.opened_us),
        "time": end_ms,
        "request": _request(asked),
        "response": _response(got),
        "cache": {},
        "timings": {"send": 0, "wait": first_ms, "receive": max(0.0, end_ms - first_ms)},
        "comment": " ".join((told.verdict, *missing)).strip(),
        "_stream": story.stream,
        "_kind": told.ending.kind,
        "_pieces": [{"ms": each.at_us / 1000, "bytes": len(each.data)} for each in got.pieces],
    }


def _request(asked: asking.Asked) -> dict[str, Any]:
    request: dict[str, Any] = {
        "method": asked.method,
        "url": asking.BASE_URL + asked.path,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": [
            {"name": "authorization", "value": f"Bearer {asking.KEY}"},
            {"name": "x-request-id", "value": asked.told.request.request_id},
        ],
        "queryString": [],
        "headersSize": UNKNOWN,
        "bodySize": UNKNOWN,
    }
    if asked.body is not None:
        request["headers"].append({"name": "content-type", "value": "application/json"})
        request["postData"] = {"mimeType": "application/json", "text": asked.body.decode()}
    return request


def _response(got: answers.Answer) -> dict[str, Any]:
    headers = dict(got.headers)
    content: dict[str, Any] = {
        "size": len(got.body),
        "mimeType": headers.get("content-type", "application/json"),
    }
    try:
        content["text"] = got.body.decode()
    except UnicodeDecodeError:
        content |= {"text": base64.b64encode(got.body).decode(), "encoding": "base64"}
    return {
        "status": got.status,
        "statusText": http.REASONS.get(got.status, ""),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": [{"name": name, "value": value} for name, value in got.headers],
        "content": content,
        "redirectURL": "",
        "headersSize": UNKNOWN,
        "bodySize": len(got.body),
    }


def _time(microseconds: int) -> str:
    moment = datetime.datetime.fromtimestamp(microseconds / 1e6, datetime.UTC)
    return moment.isoformat(timespec="milliseconds")
