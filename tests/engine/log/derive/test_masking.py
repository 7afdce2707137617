"""A full stream that is masked afterwards is what a masked log would have had of it."""

import itertools
import types
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine import slices
from engine.log.content import keptrequest
from engine.log.derive import exporting, masking
from engine.log.read import segments
from machines import events, outputs, tooloptions
from machines.stream.machine import Stream
from tests.engine.log.content import test_mask
from tests.engine.log.derive import logsforderiving as deriving
from tests.support.logs import corpus, logs
from tests.tools import capture


def test_a_masked_log_of_the_same_stream_has_the_same_records(tmp_path: Path) -> None:
    """But for what the request was masked with, which a log does before it is opened."""
    for content in ("full", "masked"):
        event_log = logs.open_log(tmp_path / content, content=content)
        stream = event_log.stream("st_1")
        happened = Stream(first := logs.opened(stop=("STOP",)))
        stream.open(first)
        for text in deriving.texts(1):
            if not happened.ended:
                event = events.TextDelta(text)
                stream.append(event, happened.step(event))
        stream.close(logs.TERMINAL, "done")
        event_log.flush()
        event_log.close()
    full = deriving.story(tmp_path / "full", "st_1")
    lines = exporting.export([full], tmp_path / "full", "masked", 0)[1:]
    masked = logs.streams_of(tmp_path / "masked")["st_1"]
    for line, record in zip(lines, masked, strict=True):
        one, other = msgspec.json.decode(line), msgspec.json.decode(record.raw)
        for each in (one, other):
            for name in ("seg", "t", "crc"):
                del each[name]
        assert one == other


EVERY = test_mask.logged_events()


def planted(annotation: Any) -> Any:
    """A value that a record may have, with the word wherever a text is free."""
    options = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return options[0]
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return planted(next(each for each in options if each is not types.NoneType))
    if typing.get_origin(annotation) is tuple:
        return [planted(options[0])]
    if annotation == dict[str, int]:
        return {"nested": 1}
    if annotation is events.Usage:
        return {"prompt_tokens": 1, "completion_tokens": 1}
    if annotation is bool:
        return True
    if annotation is msgspec.Raw:
        return {"user": test_mask.WORD}
    if annotation is tooloptions.ToolOptions:
        return {}
    return test_mask.filled(annotation)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_no_text_of_any_event_is_in_it(kind: type[events.StreamEvent], tmp_path: Path) -> None:
    """The word is planted in every field of the event; what stays is what a masked log keeps."""
    tag = str(kind.__struct_config__.tag)
    hints = typing.get_type_hints(kind)
    fields = {name: planted(hints[name]) for name in kind.__struct_fields__}
    if kind is events.Opened:
        fields |= {"schema": events.SCHEMA_VERSION, "hash_key": None}
    path = logs.write(tmp_path / "one.jsonl", {"event": tag, **fields, "state": "held", "out": []})
    (record,) = segments.read(path)
    rest = masking.Masking().rest(record)
    kept = msgspec.json.decode(b"{" + rest + b"}")
    left = {name for name, value in kept.items() if test_mask.WORD in str(value)}
    assert left <= set(test_mask.KEPT.get(tag, "").split()) - {"request"}


def test_no_word_of_a_request_is_in_it(tmp_path: Path) -> None:
    deriving.write(tmp_path / "log")
    whole = deriving.story(tmp_path / "log", "st_0001")
    kept = exporting.export([whole], tmp_path / "log", "kept", 0)
    assert deriving.WORD.encode() in b"".join(kept)
    masked = exporting.export([whole], tmp_path / "log", "masked", 0)
    assert deriving.WORD.encode() not in b"".join(masked)
    opened = msgspec.json.decode(masked[1])
    assert opened["request"]["model"] == "gpt-5.5"
    assert opened["request"]["messages"] == [{"role": "user", "content": "**********"}]


def test_what_scanners_decided_is_said_as_it_was(tmp_path: Path) -> None:
    piece = outputs.Piece("verbatim", 3, deriving.WORD)
    record = {"event": "text_delta", "text": deriving.WORD, "state": "content", "out": []}
    decided = {"released": 4, "pieces": [["call", 2, "search"], msgspec.to_builtins(piece)]}
    path = logs.write(tmp_path / "one.jsonl", record | decided)
    (read,) = segments.read(path)
    masked = msgspec.json.decode(b"{" + masking.Masking().rest(read) + b"}")
    assert masked["released"] == 4
    assert masked["pieces"] == [["call", 2, "search"], ["verbatim", 3, "**********"]]


def test_what_was_left_out_is_hashed_with_another_key() -> None:
    place = {"omitted": {"bytes": 9, "digest": "5f0c", "items": 2}}
    members = {"messages": msgspec.Raw(msgspec.json.encode(place)), "n": msgspec.Raw(b"2")}

    def masked(key: bytes) -> dict[str, object]:
        steps = keptrequest.mask(members, key)
        return dict(msgspec.json.decode(slices.at_once(steps)))

    one, other = masked(b"1"), masked(b"2")
    assert one["n"] == 2
    assert one != other
    assert masked(b"1") == one
    for each in (one, other):
        omitted = each["messages"]["omitted"]  # type: ignore[index] # as above
        assert omitted.pop("digest") != "5f0c"
        assert omitted == {"bytes": 9, "items": 2}


def test_a_later_version_s_event_is_not_taken_for_masked(tmp_path: Path) -> None:
    later = {"event": "text_delta", "text": "a", "state": "content", "out": [], "aside": "words"}
    path = logs.write(tmp_path / "one.jsonl", later)
    (record,) = segments.read(path)
    with pytest.raises(segments.LaterVersion):
        masking.Masking().rest(record)


def test_masking_twice_changes_nothing(tmp_path: Path) -> None:
    for name in itertools.islice(corpus.NAMES, 0, None, 7):
        source = capture.DIRECTORY / f"{name}.jsonl"
        once = exporting.export([deriving.story(source, name)], source, "masked", 0)
        file = tmp_path / f"{name}.jsonl"
        file.write_bytes(b"".join(once))
        twice = exporting.export([deriving.story(file, name)], file, "masked", 0)
        assert twice[1:] == once[1:]
