"""A segment is put in another's place where nobody changed the log meanwhile, and not else."""

from pathlib import Path

import pytest

from engine.log import event_log as eventlog
from engine.log.format import chain
from engine.log.read import drafts, manifest, segments
from engine.log.write import chainfile, recovery, rewriting
from tests.support.logs import damage, logs


def holds(directory: Path, number: int) -> chain.Figures:
    found = manifest.Manifest(directory, manifest.look(directory), headed=True).holds(number)
    assert found is not None
    return found


def first(directory: Path) -> segments.SegmentInfo:
    return segments.list_segments(directory)[0]


def problems(directory: Path) -> list[str]:
    reading = segments.read(directory)
    for _ in reading:
        pass
    return list(map(str, reading.problems))


def shorter(directory: Path) -> bytes:
    """A segment without its last stream, which is whole."""
    lines = first(directory).path.read_bytes().splitlines(keepends=True)
    return b"".join(lines[:6])


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    event_log = logs.open_log(tmp_path / "log")
    for number in range(2):
        logs.write_stream(event_log, f"st_{number}")
    event_log.close()
    return tmp_path / "log"


def test_the_chain_says_what_it_holds_now(closed: Path) -> None:
    data, before = shorter(closed), holds(closed, 1)
    old = first(closed).modified_us
    with rewriting.Rewriter(closed) as rewriter:
        assert rewriter.owner is None
        assert rewriter.replace(first(closed), before, [data])
    assert first(closed).path.read_bytes() == data
    assert first(closed).modified_us == old
    assert holds(closed, 1) == chain.measure(5, data)
    assert problems(closed) == []
    assert not list(closed.glob(f"*{drafts.DRAFT}"))


@pytest.fixture
def served(tmp_path: Path) -> eventlog.EventLog:
    event_log = logs.open_log(tmp_path / "log", segment_bytes=1500)
    for number in range(4):
        logs.write_stream(event_log, f"st_{number}")
    logs.wait_for_chores(event_log)
    return event_log


def test_beside_a_server_the_line_is_behind_the_server_s(
    served: eventlog.EventLog, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    data, before = shorter(log), holds(log, 1)
    with rewriting.Rewriter(log) as rewriter:
        assert rewriter.owner is not None
        rewriter.replace(first(log), before, [data])
    assert (log / "chain").read_bytes().splitlines()[-1].startswith(b'{"entry":"rewritten"')
    served.close()
    assert first(log).path.read_bytes() == data
    assert (log / "chain").read_bytes().splitlines()[-1].startswith(b'{"entry":"closed"')
    # The beginning of a stream went with what was left out here, and nothing else is amiss.
    assert all("stream st_1: record" in problem for problem in problems(log))


def test_a_log_that_was_changed_meanwhile_is_left_as_it_is(
    served: eventlog.EventLog, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    data = shorter(log)
    with rewriting.Rewriter(log) as rewriter:
        files = damage.read_files(log)
        with pytest.raises(rewriting.Changed, match="is another by now"):
            rewriter.replace(first(log), chain.measure(1, b"x\n"), [data])
        assert damage.read_files(log) == files
        before = holds(log, 1)
        served.close()
        with pytest.raises(rewriting.Changed, match="has stopped meanwhile"):
            rewriter.replace(first(log), before, [data])
    assert problems(log) == []


def test_a_segment_that_retention_took_does_not_come_back(tmp_path: Path) -> None:
    log = tmp_path / "log"
    event_log = logs.open_log(log, segment_bytes=1500)
    for number in range(4):
        logs.write_stream(event_log, f"st_{number}")
    logs.wait_for_chores(event_log)
    segment, before, data = first(log), holds(log, 1), shorter(log)
    with rewriting.Rewriter(log) as rewriter:
        event_log._writer.with_chain(lambda kept: kept.append(chain.Pruned(1)))
        logs.wait_for_chores(event_log)
        segment.path.unlink()
        assert not rewriter.replace(segment, before, [data])
    assert not segment.path.exists()
    assert not drafts.of(segment.path).exists()
    event_log.close()
    assert problems(log) == []


def test_a_line_that_came_after_a_start_looked_at_the_chain_stays(closed: Path) -> None:
    found = recovery.recover(closed)
    data, before = shorter(closed), holds(closed, 1)
    with rewriting.Rewriter(closed) as rewriter:
        rewriter.replace(first(closed), before, [data])
    kept = chainfile.ChainFile(closed, found, 2, syncs=False)
    kept.append(chain.Closed(2, 0, 0, "00000000", 1))
    kept.release()
    entries = (closed / "chain").read_bytes().splitlines()
    assert [line.split(b'"')[3] for line in entries[-2:]] == [b"rewritten", b"closed"]
    assert chain.Chain(closed / "chain", (closed / "chain").read_bytes()).problems == []
