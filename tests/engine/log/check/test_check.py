"""A check finds the same in one process and in any number of parts."""

import random
from pathlib import Path

import pytest

from engine.log import replay
from engine.log.check import check, ranges
from engine.log.find import stories
from engine.log.read import segments
from server.renderers import reply
from tests.engine.log.check import checking
from tests.support.logs import damage, logs


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checking.write(tmp_path_factory.mktemp("log"))


def test_every_divergence_is_found_and_grouped_by_its_cause(log: Path) -> None:
    result = checking.checked(log, 1)
    assert result.diverged == len(checking.WRONG)
    steps, ends = result.groups
    assert (steps.count, ends.count) == (3, 2)
    assert steps.cause == replay.Cause(
        "text_delta", "content", "finish [content]", "content [content]"
    )
    assert ends.cause == replay.Cause("terminal", "done", "kind truncated", "kind completed")
    assert steps.example.stream == "st_03"
    assert steps.example.rows[-1].seq == 8
    assert steps.first_us < steps.last_us


def test_what_differs_is_no_less_compared_than_by_a_replay(log: Path) -> None:
    run = replay.Replay(reply)
    run.run(segments.read(log))
    first = min((each.example for each in checking.checked(log, 1).groups), key=lambda one: one.t)
    assert run.divergence == first


@pytest.mark.parametrize("jobs", [2, 3, 5, 100])
def test_the_result_does_not_depend_on_the_number_of_parts(log: Path, jobs: int) -> None:
    assert len(ranges.divide(log, jobs)) > 1
    assert checking.checked(log, jobs) == checking.checked(log, 1)


@pytest.mark.parametrize("oldest", [2, 4])
def test_nor_where_old_segments_were_deleted(
    tmp_path: Path, log: Path, oldest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = logs.left_behind(log)
    paths = [each.path for each in segments.list_segments(copy)]
    for name in ("chain", "checkpoint"):
        (copy / name).unlink()
    for path in paths:  # a log of before the chain
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[1:]))
    for path in paths[: oldest - 1]:
        path.unlink()
    whole = checking.checked(copy, 1)
    assert whole.tally.skipped
    assert not whole.problems
    monkeypatch.setattr(check, "_in_one_go", None)  # it is not what answers
    assert checking.checked(copy, 3) == whole


@pytest.mark.parametrize("kind", damage.damages())
def test_nor_where_anything_is_wrong_with_it(tmp_path: Path, log: Path, kind: str) -> None:
    change = damage.damages()[kind]
    for seed in range(3):
        files = {path.name: path.read_bytes() for path in log.iterdir() if path.is_file()}
        change(random.Random(seed), files)
        spoilt = tmp_path / f"{seed}"
        spoilt.mkdir()
        for name, data in files.items():
            (spoilt / name).write_bytes(data)
        whole = checking.checked(spoilt, 1)
        assert checking.checked(spoilt, 3) == whole
        assert not (whole.corrupt and whole.groups)


def test_a_log_in_other_processes(log: Path) -> None:
    told: list[int] = []
    result = check.check(log, reply, 2, told.append)
    assert result == checking.checked(log, 1)
    assert sum(told) > ranges.size(log) // 2


def test_one_stream_is_checked_alone(log: Path) -> None:
    bad = stories.story(log, "st_09")
    good = stories.story(log, "st_10")
    assert check.check_records(bad.records, reply).diverged == 1
    result = check.check_records(good.records, reply)
    assert (result.diverged, result.tally.streams) == (0, 1)
