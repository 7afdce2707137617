"""Rows are read in the order of the log, from any place, whatever becomes of the files."""

import os
from pathlib import Path
from typing import Any

import pytest

from engine.log.read import segments
from engine.log.summary import reading, rows, sidecars
from tests.support.logs import summaries


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Sidecars 1 to 4 of 400 rows each, of which the last is not sealed."""
    for number in range(1, 5):
        sidecar = sidecars.Sidecar(tmp_path, number)
        sidecar.append(
            [
                rows.Summary(summary=f"st_{n}", at=(number, n), t=1000 * number + n, trigger="x")
                for n in range(400)
            ]
        )
        if number < 4:
            sidecar.seal(1, syncs=False)
        else:
            sidecar.release()
    return tmp_path


def places(directory: Path, **span: object) -> list[reading.Place]:
    return [row.at for row in summaries.rows_of(directory, **span)]


EVERY = [(number, n) for number in range(1, 5) for n in range(400)]


def test_all_rows_come_in_order(directory: Path) -> None:
    assert places(directory) == EVERY
    assert places(directory, through=2) == EVERY[:800]


def test_files_without_a_row_that_is_asked_for_are_left_out(directory: Path) -> None:
    assert places(directory, after=(3, 399)) == EVERY[800:]
    assert places(directory, start=2400) == EVERY[800:]
    assert places(directory, end=2000) == [*EVERY[:400], *EVERY[1200:]]  # of 4 nobody knows


def test_a_half_written_row_is_none(directory: Path) -> None:
    path = directory / f"{sidecars.name_of(4)}{sidecars.OPEN}"
    path.write_bytes(path.read_bytes() + b'{"summary":"st_400","at":[4,')
    assert places(directory) == EVERY


def test_a_file_that_is_renamed_or_deleted_meanwhile_is_no_hole_and_no_end(
    directory: Path,
) -> None:
    path = directory / f"{sidecars.name_of(4)}{sidecars.OPEN}"
    with reading.SummaryReader(directory, reading.Span(through=9)) as reader:
        found = reader.block()
        path.rename(directory / sidecars.name_of(4))
        (directory / sidecars.name_of(1)).unlink()  # which is open
        (directory / sidecars.name_of(2)).unlink()
        while (block := reader.block()) is not None:
            assert len(b"".join(block)) <= reading.BLOCK_BYTES + 1000
            found = [*(found or []), *block]
    read = [rows.read(line) for line in found or []]
    assert [row.at for row in read if row is not None] == [*EVERY[:400], *EVERY[800:]]


def short(directory: Path, **span: Any) -> int:
    with reading.SummaryReader(directory, reading.Span(**{"through": 4, **span})) as reader:
        while reader.block() is not None:
            pass
        return reader.short


def test_what_is_whole_is_not_short(directory: Path) -> None:
    (directory / segments.segment_name(3)).touch()
    (directory / segments.segment_name(5)).touch()  # not summarized yet
    assert short(directory) == 0
    assert short(directory, after=(4, 399)) == 0


def test_a_file_that_is_missing_beside_its_segment_is_noticed(directory: Path) -> None:
    (directory / segments.segment_name(2)).touch()
    (directory / sidecars.name_of(2)).unlink()
    (directory / sidecars.name_of(1)).unlink()  # retention's, its segment is gone
    assert short(directory) == 1
    assert short(directory, after=(3, 0)) == 0


@pytest.mark.parametrize("left", [-1, -100, 0])
def test_a_file_that_was_cut_is_noticed(directory: Path, left: int) -> None:
    path = directory / sidecars.name_of(2)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: left or -9]) + lines[-1][: 9 if left else 0])
    assert short(directory) == 1
    os.utime(path, (1, 1))
    assert short(directory, start=2_000_000) == 0  # all of it ended before


def test_a_row_that_was_taken_out_is_noticed(directory: Path) -> None:
    path = directory / sidecars.name_of(2)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:9], *lines[10:]]))
    assert short(directory) == 1


def test_a_place_that_the_log_has_not_reached_is_another_logs(directory: Path) -> None:
    assert short(directory, after=(5, 0)) == 1


def test_where_all_was_deleted_nothing_is_not_all(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()
    assert short(directory) == 1
    assert short(directory, through=0) == 0
