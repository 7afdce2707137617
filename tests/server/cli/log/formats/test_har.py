"""A HAR is read by haralyzer, which is not ours."""

import datetime
import json
from pathlib import Path

import haralyzer
import pytest

from server.cli.log.formats import har
from tests.server.cli.log.formats import formatting
from tests.support.logs import corpus


@pytest.mark.parametrize("name", ["text-short", "rate-limit", "tool-call", "responses-text"])
def test_an_entry_has_the_request_the_answer_and_the_times(name: str) -> None:
    story = formatting.recorded(name)
    data = json.loads(formatting.written(har.write, story))
    parser = haralyzer.HarParser(data)
    assert parser.har_data["version"] == "1.2"
    assert parser.creator["name"] == "turntape"
    (raw,) = parser.har_data["entries"]
    entry = haralyzer.HarEntry(raw)
    assert entry.request.method == "POST"
    assert json.loads(entry.request.text) == corpus.on_file(name).request
    assert entry.response.status == corpus.on_file(name).terminal.status
    assert entry.response.text.encode() == formatting.expected(name)
    assert entry.response.contentSize == len(formatting.expected(name))
    assert entry.startTime.timestamp() == pytest.approx(story.records[0].t / 1e6, abs=0.001)
    assert entry.startTime.tzinfo == datetime.UTC or entry.startTime.utcoffset() is not None
    assert entry.timings["wait"] + entry.timings["receive"] == pytest.approx(entry.time)
    assert sum(each["bytes"] for each in raw["_pieces"]) == len(formatting.expected(name))


def test_no_key_is_in_it() -> None:
    data = json.loads(formatting.written(har.write, formatting.recorded("text-short")))
    headers = data["log"]["entries"][0]["request"]["headers"]
    assert {"name": "authorization", "value": "Bearer $OPENAI_API_KEY"} in headers


def test_what_a_masked_log_cannot_give_is_said(tmp_path: Path) -> None:
    data = json.loads(formatting.written(har.write, formatting.masked(tmp_path)))
    (raw,) = haralyzer.HarParser(data).har_data["entries"]
    assert "The texts of the request are masked." in raw["comment"]
    assert "The texts of the answer are masked." in raw["comment"]
    assert "secret" not in json.dumps(data)


def test_an_answer_that_was_cut_is_said_to_be() -> None:
    data = json.loads(formatting.written(har.write, formatting.recorded("client-gone")))
    assert "The answer did not come to its end." in data["log"]["entries"][0]["comment"]
