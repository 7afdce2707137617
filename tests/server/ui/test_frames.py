"""What a client saw is made again from its records: to the byte, or in lengths."""

from pathlib import Path

import msgspec
import pytest

from engine.log.find import stories
from server.ui import frames
from tests.support.logs import corpus, gallery
from tests.tools import capture


def of(directory: Path, name: str, **fields: str) -> tuple[stories.Story, frames.Seen]:
    written = gallery.Gallery(directory, **fields)
    written.add("st_1", gallery.STORIES[name])
    written.close()
    story = stories.story(directory, "st_1")
    return story, frames.seen(story)


@pytest.mark.parametrize("name", corpus.NAMES)
def test_the_bytes_of_a_transcript_are_those_on_file(name: str) -> None:
    path = capture.DIRECTORY / f"{name}.jsonl"
    seen = frames.seen(stories.story(path, corpus.on_file(name).opened.request_id))
    data = "".join(each.data for each in seen.frames)
    assert data == corpus.on_file(name).sse.decode()
    assert seen.proof == "same"


def test_a_frame_has_the_time_of_its_record(tmp_path: Path) -> None:
    story, seen = of(tmp_path, "good")
    times = {record.seq: record.t - story.records[0].t for record in story.records}
    assert [each.at_us for each in seen.frames] == [times[each.seq] for each in seen.frames]
    assert len(seen.frames) > 50


def test_a_call_is_told_with_its_name_and_its_arguments(tmp_path: Path) -> None:
    _, seen = of(tmp_path, "call")
    told = [(piece.kind, piece.text) for each in seen.frames for piece in each.pieces]
    assert ("tool_call", "get_forecast") in told
    assert ("tool_arguments", gallery.CALL) in told


def test_of_a_masked_log_lengths_and_order_are_the_clients(tmp_path: Path) -> None:
    _, full = of(tmp_path / "full", "broken")
    _, masked = of(tmp_path / "masked", "broken", content="masked")
    assert masked.proof == "masked"
    assert not any(each.data or each.bytes for each in masked.frames)
    shape = [
        [
            [(piece.kind, len(piece.text)) for piece in each.pieces if piece.kind == "content"]
            for each in seen.frames
        ]
        for seen in (full, masked)
    ]
    assert shape[0] == shape[1]
    text = "".join(piece.text for each in masked.frames for piece in each.pieces)
    assert "tide" not in text


def test_bytes_that_today_s_code_makes_otherwise_are_said_to_be_others(tmp_path: Path) -> None:
    story, _ = of(tmp_path, "good")
    first = story.records[0]
    changed = first.raw.replace(b'"gpt-5.5"', b'"gpt-5.6"')
    assert changed != first.raw
    other = msgspec.structs.replace(first, raw=changed)
    told = frames.seen(stories.Story("st_1", (other, *story.records[1:])))
    assert told.proof == "other"


def test_of_a_refusal_no_frames_are_known(tmp_path: Path) -> None:
    written = gallery.Gallery(tmp_path)
    written.refuse(1)
    written.close()
    assert frames.seen(stories.story(tmp_path, "rj_0001")) == frames.Seen()
