"""A segment is read line by line, and only as what its log says."""

from pathlib import Path

import pytest

from engine.log.derive import segmentfile
from engine.log.format import chain
from tests.engine.log.derive import logsforderiving as deriving


def test_its_lines_are_what_the_chain_says(tmp_path: Path) -> None:
    deriving.write(tmp_path, streams=1)
    path = tmp_path / "events-00000001.jsonl"
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    holds = chain.measure(len(lines) - 1, data)
    assert [*segmentfile.lines(path, holds)] == [*segmentfile.lines(path, None)] == lines
    path.write_bytes(b"".join(lines[:-1]))
    assert [*segmentfile.lines(path, None)] == lines[:-1]
    with pytest.raises(segmentfile.Damaged, match="is not as it was written"):
        [*segmentfile.lines(path, holds)]
