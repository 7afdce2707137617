"""Rows 51 to 55 of the fault matrix, on the real binary: `tests.faults.trouble`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import places, trouble
from tests.faults.places import Place

pytestmark = pytest.mark.codex


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with places.codex() as place:
        yield place


@pytest.fixture(scope="module")
def logs(place: Place, tmp_path_factory: pytest.TempPathFactory) -> trouble.Logs:
    return trouble.Logs(place, tmp_path_factory.mktemp("logs"))


@pytest.mark.long(usual=("segment: emptied",))
@trouble.each("kind", trouble.DAMAGES)
def test_row_51_a_damaged_log_is_located_and_the_next_server_goes_on(
    place: Place, logs: trouble.Logs, tmp_path: Path, kind: str
) -> None:
    trouble.check_damage(place, logs.copy_of_clean(tmp_path), kind)


@pytest.mark.long(usual=("a member",))
@trouble.each("name", trouble.LATER)
def test_row_52_what_a_later_version_wrote_is_said_and_skipped(
    place: Place, logs: trouble.Logs, tmp_path: Path, name: str
) -> None:
    trouble.check_later(place, logs.copy_of_killed(tmp_path), name)


def test_row_53_diagnostics_that_nobody_reads_are_dropped_and_counted(
    place: Place, tmp_path: Path
) -> None:
    trouble.check_unread(place, tmp_path)


def test_row_53_diagnostics_that_are_closed_hold_nobody_up(place: Place, tmp_path: Path) -> None:
    trouble.check_closed(place, tmp_path)


@pytest.mark.long(usual=("server.cli.serve._announce",))
@trouble.each(
    "moment",
    (
        *trouble.STARTS,
        "engine.codex.child.process.Process.start",
        "engine.codex.tenant.AppServer.handshake",
    ),
)
def test_row_54_a_signal_during_the_start_is_a_clean_end(
    place: Place, tmp_path: Path, moment: str
) -> None:
    trouble.check_start(place, tmp_path, moment)


def test_row_54_signals_during_the_stop_change_nothing_of_it(place: Place, tmp_path: Path) -> None:
    trouble.check_stop(place, tmp_path)


def test_row_55_a_clock_that_jumps_fails_no_stream(place: Place, tmp_path: Path) -> None:
    trouble.check_jumps(place, tmp_path)


@pytest.mark.long
def test_row_55_a_clock_that_is_set_back_keeps_deadlines(place: Place, tmp_path: Path) -> None:
    trouble.check_deadline(place, tmp_path)
