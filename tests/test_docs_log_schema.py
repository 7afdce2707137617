"""Real logs are what `docs/events.schema.json` says, line for line, and nothing else passes."""

import collections
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped] # its types are a package of their own
import msgspec
import pytest

from engine.log.derive import purging
from engine.log.format import chain
from tests.machines import test_events
from tests.support.client import chatclient, httpclient
from tests.support.logs import logs, summaries
from tests.support.process import serving
from tests.support.providers import replies
from tests.support.providers.provider import Provider
from tests.tools import capture, eventschema, redraw

SCHEMA = json.loads(redraw.LOG_SCHEMA.read_text("utf-8"))

FIRST = {
    "segment": "segment_header",
    "checkpoint": "checkpoint",
    "sidecar": "summary_header",
    "summary": "summary",
    "sealed": "summary_end",
}
"""The kind of a line by its first member; records and entries of the chain name their own."""


def kind_of(line: dict[str, Any]) -> str:
    """The part of the schema that is about a line."""
    first = next(iter(line))
    if first == "stream":
        return "stub" if "purged" in line else f"record_{line.get('event')}"
    return f"chain_{line.get('entry')}" if first == "entry" else FIRST[first]


@functools.cache
def validator(kind: str) -> Any:
    part = {"$ref": f"#/$defs/{kind}", "$defs": SCHEMA["$defs"]}
    return jsonschema.Draft202012Validator(part)


def wrong(line: bytes) -> list[str]:
    """What the schema has against a line."""
    found = json.loads(line)
    kind = kind_of(found)
    if kind not in SCHEMA["$defs"]:
        return [f"there is no {kind}"]
    return [each.message for each in validator(kind).iter_errors(found)]


def lines_of(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Every line of a log's files, by the name of its file."""
    for path in sorted(directory.iterdir()):
        if path.name not in ("lock", "hash.key"):
            for line in path.read_bytes().splitlines():
                yield path.name, line


def check(directory: Path) -> collections.Counter[str]:
    """Hold every line of a log to the schema; how many there were of each kind."""
    kinds: collections.Counter[str] = collections.Counter()
    for name, line in lines_of(directory):
        assert wrong(line) == [], f"{name}: {line[:300]!r}"
        kinds[kind_of(json.loads(line))] += 1
    return kinds


@pytest.mark.skipif(
    tuple(map(int, msgspec.__version__.split(".")[:2])) < (0, 22),
    reason="an older msgspec describes the same types in other words",
)
def test_the_schema_is_current_and_a_schema() -> None:
    assert redraw.LOG_SCHEMA.read_text("utf-8") == eventschema.text(), (
        "out of date: run `python -m tests.tools.redraw`"
    )
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_kind_of_line_is_in_it() -> None:
    kinds = {each["$ref"].rpartition("/")[2] for each in SCHEMA["oneOf"]}
    records = {f"record_{tag}" for tag in tags()}
    entries = {f"chain_{each}" for each in ("begun", "closed", "rewritten", "pruned", "damaged")}
    assert kinds == records | entries | {"stub"} | set(FIRST.values())


def tags() -> set[str]:
    written = (*test_events.WRITTEN.values(), test_events.OPENED, test_events.TERMINAL)
    return {str(type(event).__struct_config__.tag) for event in written}


def test_a_record_of_every_event_is_as_it_says(tmp_path: Path) -> None:
    written = [json.loads(text) for text in test_events.WRITTEN]
    whole = (test_events.OPENED, test_events.TERMINAL)
    written += [json.loads(msgspec.json.encode(event)) for event in whole]
    found = [{**each, "state": "content", "out": ["content"]} for each in written]
    path = logs.write(tmp_path / "all.jsonl", *found)
    assert check(tmp_path).keys() == {f"record_{tag}" for tag in tags()}
    assert path.read_bytes().count(b"\n") == len(found)


def test_the_transcripts_are_as_it_says() -> None:
    for path in sorted(capture.DIRECTORY.glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            assert wrong(line) == [], f"{path.name}: {line[:300]!r}"


@pytest.mark.long(usual=("full",))
@pytest.mark.slow
@pytest.mark.parametrize("content", ["masked", "full"])
def test_the_log_of_a_server_is_as_it_says(content: str) -> None:
    """Every transcript is asked for, by a client of either API, and some requests are refused."""
    settings = {"PROXY_EVENT_LOG": content, "PROXY_LOG_SEGMENT_BYTES": "65536"}
    with serving.running("--worker", "scripted", data_dir=None, **settings) as server:
        for path in sorted(capture.DIRECTORY.glob("*.jsonl")):
            body = {"model": path.stem, "messages": [{"role": "user", "content": "Hello"}]}
            httpclient.ask(server.url, "POST", "/chat/completions", {**body, "stream": True})
            httpclient.ask(server.url, "POST", "/responses", {"model": path.stem, "input": "Hi"})
        httpclient.ask(server.url, "POST", "/chat/completions", {"model": "none"})
        assert server.stop() == 0
        kinds = check(server.log_dir)
    needed = {"record_opened", "record_terminal", "record_request_rejected", "chain_begun"}
    needed |= {"chain_closed", "checkpoint", "segment_header", *FIRST.values()}
    assert needed <= kinds.keys()


@pytest.mark.codex
def test_the_log_of_a_server_with_codex_is_as_it_says() -> None:
    answer = replies.Stream((replies.Message(("Hello",)),))
    with Provider(lambda _: answer) as provider, serving.codex(provider.url) as server:
        server.wait_ready()
        chatclient.ask(server, "Hello", stream=True)
        assert server.stop() == 0
        kinds = check(server.log_dir)
    assert {"record_worker_changed", "record_turn_changed"} <= kinds.keys()


def test_a_log_that_streams_were_erased_from_is_as_it_says(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path, segment_bytes=2000, **summaries.KEPT)
    for number in range(6):
        summaries.write(event_log, f"st_{number}")
    event_log.close()
    purging.purge(tmp_path, ("st_0", "st_3"), 77, lambda _done, _of: None)
    kinds = check(tmp_path)
    assert kinds["stub"] > 2
    assert kinds["chain_rewritten"] > 0


def test_entries_that_are_rare_are_as_it_says(tmp_path: Path) -> None:
    entries: list[chain.AnyEntry] = [
        chain.Begun(1, 1),
        chain.Rewritten(1, 2, 3, "0123abcd"),
        chain.Pruned(1),
        chain.Damaged(2, 1, "events-00000002.jsonl:1 (byte 0): torn"),
    ]
    data, _ = chain.joined(entries, chain.NOTHING)
    (tmp_path / "chain").write_bytes(data)
    assert sum(check(tmp_path).values()) == len(entries)


MUTATIONS: dict[str, dict[str, Any]] = {
    "a member that nobody knows": {"more": 1},
    "a member of another type": {"text": 5},
    "a word that nobody knows": {"event": "text_omega"},
    "a tag that nobody knows": {"out": ["contents"]},
    "a number as a text": {"seq": "3"},
    "a number below zero": {"seg": -1},
    "no checksum": {"crc": None},
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_anything_else_is_not(mutation: str) -> None:
    record = {"event": "text_delta", "text": "Hel", "state": "content", "out": ["content"]}
    (line,) = logs.lines(record).splitlines()
    assert wrong(line) == []
    assert wrong(json.dumps({**json.loads(line), **MUTATIONS[mutation]}).encode()) != []
    for name in ("stream", "seq", "seg", "t", "text", "state", "out", "crc"):
        if name != "stream":
            without = {each: value for each, value in json.loads(line).items() if each != name}
            assert wrong(json.dumps(without).encode()) != []


def test_one_of_the_kinds_fits_a_line_and_no_second() -> None:
    whole = jsonschema.Draft202012Validator(SCHEMA)
    (line,) = logs.lines({"event": "server_stopping", "state": "done", "out": []}).splitlines()
    assert whole.is_valid(json.loads(line))
    assert not whole.is_valid({"stream": "x"})
