"""A word is found in a stream's texts, however they were cut, and not where they are masked."""

from pathlib import Path

import msgspec

from engine.log.find import catalog, texts
from tests.support.logs import logs, summaries


def write(directory: Path, content: str) -> catalog.Catalog:
    event_log = logs.open_log(directory, content=content, segment_bytes=3000, **summaries.KEPT)
    for number in range(10):
        logs.play(event_log, f"st_{number}", "The an", f"swer is {number}.", " Done")
    request = msgspec.Raw(b'{"messages":[{"role":"user","content":"Wo ist \\u00d6sterreich?"}]}')
    logs.play(event_log, "st_asked", "There.", request=request)
    event_log.close()
    return catalog.Catalog(directory)


def found(log: catalog.Catalog, *words: str) -> texts.Match:
    among = [*log.ended_rows()]
    return texts.search(log, among, words, lambda *_: None)


def test_a_word_that_is_split_over_deltas_and_segments_is_found(tmp_path: Path) -> None:
    log = write(tmp_path, "full")
    assert len(log.files) > 2
    assert found(log, "ANSWER is 7").streams == {"st_7"}
    assert len(found(log, "answer").streams) == 10
    assert found(log, "answer", "is 3.").streams == {"st_3"}
    assert found(log, "answers").streams == set()


def test_the_request_is_searched_as_it_was_meant(tmp_path: Path) -> None:
    log = write(tmp_path, "full")
    assert found(log, "österreich?").streams == {"st_asked"}
    assert found(log, "messages").streams == set()  # a name, no text


def test_only_the_streams_that_are_asked_for_are_searched(tmp_path: Path) -> None:
    log = write(tmp_path, "full")
    some = [row for row in log.ended_rows() if row.summary in ("st_1", "st_2")]
    match = texts.search(log, some, ("answer",), lambda *_: None)
    assert match.streams == {"st_1", "st_2"}


def test_of_a_masked_log_it_is_said_what_could_not_be_searched(tmp_path: Path) -> None:
    log = write(tmp_path, "masked")
    match = found(log, "answer")
    assert match.streams == set()
    assert len(match.masked) == 11
