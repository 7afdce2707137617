"""What a directory should hold by its chain and its checkpoint, and what of it is missing."""

from pathlib import Path

import pytest

from engine.log.format import chain, sealed
from engine.log.read.manifest import NOTHING_KNOWN, Looked, Manifest, look
from machines import events
from tests.support.logs import logs

DIRECTORY = Path("log")


def chain_of(*entries: chain.AnyEntry) -> tuple[bytes, str, int]:
    """A chain's bytes, the checksum of its last line, and how many there are."""
    data, mark = chain.joined(entries, chain.NOTHING)
    return data, mark, len(entries)


def closed(segment: int) -> chain.Closed:
    """A segment that was closed."""
    return chain.Closed(segment, records=2, bytes=300, crc32="0000abcd", ended=0)


def known(
    *entries: chain.AnyEntry, state: chain.LogEnd = chain.LogEnd.CLOSED, more: int = 0
) -> Manifest:
    """A manifest whose checkpoint knows the chain, or one with `more` lines."""
    data, mark, lines = chain_of(*entries)
    point = chain.Checkpoint(events.SCHEMA_VERSION, 1, 3, 120, lines + more, mark, state)
    return Manifest(DIRECTORY, Looked(chain.checkpoint_line(point), data), headed=True)


def reasons(manifest: Manifest) -> list[str]:
    return [f"{problem.path.name}: {problem.reason}" for problem in manifest.problems]


BEGUN = chain.Begun(1, oldest=1)


def test_what_the_two_agree_on_is_known() -> None:
    manifest = known(BEGUN, closed(1), closed(2), closed(3))
    assert (manifest.problems, manifest.closed, manifest.is_chained) == ([], True, True)
    assert manifest.newest == 3
    assert manifest.held(2) == manifest.holds(2) == chain.Figures(2, 300, "0000abcd")
    assert (manifest.synced(3), manifest.synced(2)) == (120, 0)
    assert (manifest.is_headed(1), manifest.is_pruned(1)) == (True, False)


def test_segments_that_are_not_there_are_missing() -> None:
    manifest = known(BEGUN, *map(closed, range(1, 7)))
    assert manifest.missing([1, 2, 3, 4, 5, 6]) == []
    assert manifest.missing([2, 5]) == [(1, 1), (3, 4), (6, 6)]


def test_segments_that_were_deleted_are_not_missing() -> None:
    manifest = known(BEGUN, closed(1), closed(2), closed(3), chain.Pruned(2))
    assert manifest.missing([3]) == []
    assert manifest.is_pruned(2)
    assert not manifest.is_pruned(3)


def test_segments_that_nobody_wrote_are_strange_where_the_log_was_closed() -> None:
    entries = (BEGUN, closed(1), closed(2), closed(3))
    assert known(*entries).strange([1, 2, 3, 4]) == [4]
    assert known(*entries, state=chain.LogEnd.OPEN).strange([1, 2, 3, 4]) == []


def test_without_a_chain_only_gaps_can_be_seen() -> None:
    assert NOTHING_KNOWN.missing([2, 5]) == [(3, 4)]
    assert (NOTHING_KNOWN.newest, NOTHING_KNOWN.closed, NOTHING_KNOWN.is_chained) == (
        0,
        False,
        False,
    )


@pytest.mark.parametrize(
    ("looked", "says"),
    [
        (Looked(None, None), ["chain: is missing"]),
        (Looked(None, chain_of(BEGUN)[0]), ["checkpoint: is missing"]),
        (
            Looked(b"3\n", chain_of(BEGUN)[0]),
            ["checkpoint: is of a log without a chain"],
        ),
        (
            Looked(b"nonsense", chain_of(BEGUN)[0]),
            ["checkpoint: its checksum does not fit"],
        ),
    ],
)
def test_a_file_that_is_missing_or_another_is_said(looked: Looked, says: list[str]) -> None:
    assert reasons(Manifest(DIRECTORY, looked, headed=True)) == says


def test_a_chain_that_is_shorter_or_longer_than_the_checkpoint_knows_is_said() -> None:
    assert reasons(known(BEGUN, closed(1), more=1)) == ["chain: ends here; 3 lines were written"]
    _, mark, lines = chain_of(BEGUN)
    longer, _, _ = chain_of(BEGUN, closed(1))
    states: dict[chain.LogEnd, list[str]] = {
        chain.LogEnd.OPEN: [],  # it may have been written on since
        chain.LogEnd.CLOSED: ["chain: goes on; 1 lines were written"],
    }
    for state, says in states.items():
        point = chain.Checkpoint(events.SCHEMA_VERSION, 1, 1, 0, lines, mark, state)
        looked = Looked(chain.checkpoint_line(point), longer)
        assert reasons(Manifest(DIRECTORY, looked, headed=True)) == says


def test_a_chain_that_was_being_written_is_torn_and_one_of_a_closed_log_corrupt() -> None:
    data, mark, lines = chain_of(BEGUN, closed(1))
    states = {chain.LogEnd.OPEN: "torn", chain.LogEnd.CLOSED: "corrupt"}
    for state, kind in states.items():
        point = chain.Checkpoint(events.SCHEMA_VERSION, 1, 1, 0, lines, mark, state)
        looked = Looked(chain.checkpoint_line(point), data + b'{"entry":"clo')
        (problem,) = Manifest(DIRECTORY, looked, headed=True).problems
        assert (problem.kind, problem.offset) == (kind, len(data))


def test_what_a_start_found_is_noted_and_no_problem_of_the_chain() -> None:
    manifest = known(BEGUN, closed(1), chain.Damaged(1, 4, "line 7"))
    assert manifest.problems == []
    (noted,) = manifest.noted
    assert isinstance(noted, sealed.Problem)
    assert noted.reason == "a start found 4 problems, first line 7"


def test_the_two_files_of_a_log_are_read(tmp_path: Path) -> None:
    assert look(tmp_path) == Looked(None, None)
    event_log = logs.open_log(tmp_path, content="full")
    logs.write_stream(event_log, "st_1")
    event_log.close()
    manifest = Manifest(tmp_path, look(tmp_path), headed=True)
    assert (manifest.problems, manifest.closed, manifest.newest) == ([], True, 1)
