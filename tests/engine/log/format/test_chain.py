"""Chain and checkpoint: what they say, that they cannot change unseen, how they are written."""

from pathlib import Path

import pytest

from engine.log.format import chain, sealed
from engine.log.read import segments
from tests.support.logs import logs

ENTRIES: list[chain.AnyEntry] = [
    chain.Begun(3, 1),
    chain.Closed(3, 10, 1000, "00000001", 5),
    chain.Closed(4, 20, 2000, "00000002", 6),
    chain.Damaged(4, 2, "something"),
    chain.Pruned(2),
    chain.Closed(5, 30, 3000, "00000003", 7),
    chain.Rewritten(4, 19, 1900, "00000004"),
]


def read(data: bytes) -> chain.Chain:
    return chain.Chain(Path("chain"), data)


def written(*entries: chain.AnyEntry, after: str = chain.NOTHING) -> bytes:
    return chain.joined(entries, after)[0]


def test_what_is_written_is_read() -> None:
    data, mark = chain.joined(ENTRIES, chain.NOTHING)
    found = read(data)
    assert (found.problems, found.tail, found.unknown) == ([], 0, False)
    assert (found.begun, found.count, found.marks[-1]) == (ENTRIES[0], 7, mark)
    assert found.holds == {
        3: chain.Figures(10, 1000, "00000001"),
        4: chain.Figures(19, 1900, "00000004"),
        5: chain.Figures(30, 3000, "00000003"),
    }
    assert [entry for entry, _ in found.damaged] == [chain.Damaged(4, 2, "something")]
    assert found.reaches(chain.Checkpoint(2, 1, lines=7, mark=mark))
    assert found.reaches(chain.Checkpoint(2, 1, lines=3, mark=found.marks[3]))
    assert not found.reaches(chain.Checkpoint(2, 1, lines=3, mark=mark))
    assert not found.reaches(chain.Checkpoint(2, 1, lines=8, mark=mark))


def test_what_was_deleted_is_forgotten() -> None:
    found = read(written(*ENTRIES, chain.Pruned(4)))
    assert (set(found.holds), set(found.closed), found.pruned) == ({5}, {5}, 4)
    assert found.damaged == []


def test_no_line_can_be_changed_taken_or_put_unseen() -> None:
    lines = written(*ENTRIES).splitlines(keepends=True)
    for number in range(len(lines)):
        other = sealed.seal(lines[number][: -sealed.SEAL_BYTES].replace(b":", b": ", 1))
        for changed in (
            [*lines[:number], *lines[number + 1 :]],
            [*lines[:number], lines[number], *lines[number:]],
            [*lines[:number], other, *lines[number + 1 :]],
            [*lines[:number], lines[number].replace(b"e", b"f", 1), *lines[number + 1 :]],
        ):
            if changed != lines[:-1] and changed != [*lines[:-1], other]:  # the checkpoint knows
                assert read(b"".join(changed)).problems, (number, changed)


def test_a_line_without_its_end_is_a_tail() -> None:
    data = written(*ENTRIES)
    found = read(data[:-5])
    assert (found.count, found.problems) == (6, [])
    assert found.length + found.tail == len(data) - 5


def test_what_is_written_anew_says_the_same_of_what_is_there() -> None:
    before = read(written(*ENTRIES, chain.Pruned(3)))
    entries = chain.compacted(before, 4)
    assert len(entries) < before.count
    data, _ = chain.joined(entries, before.marks[-1])
    after = read(data)
    assert after.problems == []
    assert (after.holds, after.closed, after.pruned) == (
        before.holds,
        before.closed,
        before.pruned,
    )
    assert [entry for entry, _ in after.damaged] == [entry for entry, _ in before.damaged]
    assert after.reaches(chain.Checkpoint(2, 1, lines=8, mark=before.marks[-1]))


def test_a_checkpoint_is_always_as_long() -> None:
    last = chain.Checkpoint(
        2, 99_999_999, 99_999_999, 1 << 40, 99_999_999, "ffffffff", chain.LogEnd.CLOSED
    )
    for point in (chain.Checkpoint(2, 1), last):
        line = chain.checkpoint_line(point)
        assert len(line) == chain.CHECKPOINT_BYTES
        assert chain.parse_checkpoint(Path("checkpoint"), line) == point


@pytest.mark.parametrize("data", [b"x", b"{}\n", b"12", b"-1\n", b"1\n2\n", b"\0" * 256])
def test_what_is_no_checkpoint_is_a_problem(data: bytes) -> None:
    found = chain.parse_checkpoint(Path("checkpoint"), data)
    assert isinstance(found, sealed.Problem)
    assert found.kind == "corrupt"


def test_a_header_knows_what_the_segment_before_held(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        event_log = logs.open_log(tmp_path, segment_bytes=1000)
        for number in range(3):
            logs.write_stream(event_log, f"{name}{number}")
        event_log.close()
    found = segments.list_segments(tmp_path)
    held = read((tmp_path / chain.CHAIN).read_bytes()).holds
    headers = [chain.parse_header(each.path.read_bytes().splitlines(True)[0]) for each in found]
    assert [header.before for header in headers] == [
        None,
        *(held[number] for number in range(1, len(found))),
    ]
    assert len({header.writer for header in headers}) == 3
