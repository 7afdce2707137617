"""A row says what its two records say, in no words of a client's."""

import msgspec
import pytest

from engine.log.format import sealed
from engine.log.summary import rows
from machines import events


def line(event: events.StreamEvent, **head: object) -> bytes:
    members = {"stream": "st_1", "seq": 0, "seg": 0, "t": 5, **head}
    return sealed.seal(msgspec.json.encode(members)[:-1] + b"," + msgspec.json.encode(event)[1:-1])


OPENED = events.Opened(
    request_id="r",
    completion_id="c",
    created=1,
    model="m",
    target="t",
    worker="codex",
    endpoint="responses",
    effort="low",
    n=2,
    key="Anna's laptop",
)
ENDED = events.Terminal(
    kind="truncated",
    emission_trigger="turn_failed",
    status=200,
    finish_reasons=("length", None),
    code="worker_exited",
    usage=events.Usage(3, 4, cached_tokens=1, other_tokens=2),
    usage_source="estimated",
    ttft_us=7,
    tool_calls=1,
    tool_buffers_aborted={"broken": 2},
)


def test_a_row_has_both_records_and_their_places() -> None:
    begun = rows.opening((1, 90), line(OPENED))
    row = rows.summarize((2, 400), line(ENDED), begun)
    assert (row.summary, row.at, row.begun, row.t) == ("st_1", (2, 400), (1, 90), 5)
    assert (row.request_id, row.model, row.target, row.worker) == ("r", "m", "t", "codex")
    assert (row.endpoint, row.effort, row.n, row.key) == ("responses", "low", 2, "Anna's laptop")
    assert (row.kind, row.trigger, row.code) == ("truncated", "turn_failed", "worker_exited")
    assert row.usage == rows.Counts(3, 4, cached_tokens=1, other_tokens=2)
    assert (row.usage_source, row.ttft_us, row.tool_calls) == ("estimated", 7, 1)
    assert (row.tool_buffers_aborted, row.is_refusal) == ({"broken": 2}, False)
    assert (row.completion_id, row.process) == ("c", "")
    assert rows.read(rows.written(row)) == row


def test_a_row_has_the_process_that_the_last_record_names() -> None:
    ended = msgspec.json.decode(line(ENDED))
    del ended["crc"]
    told = sealed.seal(msgspec.json.encode(ended | {"process": "wk_71d0"})[:-1])
    assert rows.summarize((2, 400), told, None).process == "wk_71d0"


def test_a_stream_that_is_open_is_a_row_of_its_first_record() -> None:
    begun = rows.opening((1, 90), line(OPENED))
    row = rows.still_open(begun, 25)
    assert (row.summary, row.at, row.begun, row.kind) == ("st_1", (1, 90), (1, 90), "open")
    assert (row.began_us, row.t, row.duration_us) == (5, 25, 20)
    assert (row.request_id, row.completion_id, row.key) == ("r", "c", "Anna's laptop")
    assert not row.is_refusal
    assert rows.still_open(begun, 0).duration_us == 0


def test_what_has_neither_end_nor_beginning_is_a_row_of_any_of_its_records() -> None:
    life = line(events.WorkerChanged("codex-0", "exited", {}), stream="wk_1")
    assert rows.passing((1, 2), life).kind == "process"
    assert rows.passing((1, 2), life).is_life
    assert rows.passing((1, 2), line(events.TextDelta("x"))).kind == "open"


def test_of_a_stream_whose_beginning_is_gone_its_end_is_left() -> None:
    row = rows.summarize((2, 400), line(ENDED), None)
    assert (row.summary, row.kind, row.begun, row.model) == ("st_1", "truncated", None, "")
    assert not row.is_refusal


def test_a_refusal_is_a_row_of_one_record() -> None:
    refused = events.RequestRejected(
        request_id="r", code="invalid_request", status=400, route="/v1/models", count=3, key="k"
    )
    row = rows.summarize((1, 2), line(refused), None)
    assert (row.kind, row.code, row.status, row.count) == ("rejected", "invalid_request", 400, 3)
    assert (row.route, row.key, row.is_refusal) == ("/v1/models", "k", True)
    assert rows.stream_of(line(refused)) == ""


@pytest.mark.parametrize("name", ["my model", "mein Modell", "größe-7b", "模型"])
def test_a_full_log_has_the_names_of_models_as_they_are_spelled(name: str) -> None:
    opened = msgspec.structs.replace(OPENED, model=name, target="x" * 200)
    row = rows.summarize((1, 2), line(ENDED), rows.opening((1, 0), line(opened)))
    assert (row.model, row.target) == (name, "x" * 128)
    refused = events.RequestRejected(
        request_id="r", code="model_not_found", status=404, model=name
    )
    assert rows.summarize((1, 2), line(refused), None).model == name


def test_what_is_not_spelled_as_a_name_or_a_code_is_masked() -> None:
    opened = msgspec.structs.replace(
        OPENED, model="my secret plan", target="x" * 200, content="masked"
    )
    ended = msgspec.structs.replace(ENDED, code="Anna has no credit")
    row = rows.summarize((1, 2), line(ended), rows.opening((1, 0), line(opened)))
    assert (row.model, row.target) == ("** ****** ****", "x" * 128)
    assert row.code == "**** *** ** ******"


def test_a_row_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    written = rows.written(rows.summarize((1, 2), line(ENDED), None))
    members = msgspec.json.decode(written)
    del members["crc"]
    members["cost"] = {"eur": 1}
    members["usage"]["audio_tokens"] = 7
    row = rows.read(sealed.seal(msgspec.json.encode(members)[:-1]))
    assert row is not None
    assert row.usage == rows.Counts(3, 4, cached_tokens=1, other_tokens=2)


def test_a_changed_line_is_no_row() -> None:
    written = rows.written(rows.summarize((1, 2), line(ENDED), None))
    assert rows.read(written.replace(b'"t":5', b'"t":6')) is None
    assert rows.read(written[:-1]) is None
    assert rows.read(line(ENDED)) is None
    assert rows.read(b"") is None
