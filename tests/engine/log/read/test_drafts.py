"""A draft counts only where it is what its segment should be."""

from pathlib import Path

import pytest

from engine.log.format import chain
from engine.log.read import drafts


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    path = tmp_path / "events-00000001.jsonl"
    path.write_bytes(b"old and long\n")
    drafts.of(path).write_bytes(b"new\n")
    return path


def test_it_counts_where_the_chain_says_so(segment: Path) -> None:
    assert drafts.current(segment, chain.measure(1, b"new\n")) == drafts.of(segment)
    for other in (None, chain.measure(1, b"old and long\n"), chain.measure(1, b"neu\n")):
        assert drafts.current(segment, other) == segment
    drafts.of(segment).unlink()
    assert drafts.current(segment, chain.measure(1, b"new\n")) == segment


def test_a_link_is_no_draft(segment: Path, tmp_path: Path) -> None:
    drafts.of(segment).rename(tmp_path / "elsewhere")
    drafts.of(segment).symlink_to(tmp_path / "elsewhere")
    assert drafts.current(segment, chain.measure(1, b"new\n")) == segment


def test_one_that_has_got_its_name_meanwhile_is_read_under_it(segment: Path) -> None:
    path = drafts.of(segment)
    path.replace(segment)
    with drafts.reader(path) as file:
        assert file.read() == b"new\n"
    segment.unlink()
    for gone in (path, segment):
        with pytest.raises(FileNotFoundError):
            drafts.reader(gone)


def test_that_of_a_compressed_segment_has_the_same_name(segment: Path) -> None:
    assert drafts.of(segment.with_name(f"{segment.name}.gz")) == drafts.of(segment)
