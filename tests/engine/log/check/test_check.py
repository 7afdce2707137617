"""A check finds the same in one process and in any number of parts."""

import collections
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.log import replay
from engine.log.check import check, ranges
from engine.log.cold import compress
from engine.log.find import catalog, stories
from engine.log.read import segments
from machines import events, outputs
from machines.stream import finish, machine as stream
from server.chat import sse
from server.http import errors
from server.renderers import reply
from tests.engine.log.check import checking
from tests.support.logs import coldlogs, damage, gallery, logs


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


def planted(patch: pytest.MonkeyPatch) -> None:
    """Three bugs: an answer that calls is said to have stopped, thoughts are lost, and an error is
    spelled in another way."""
    canonical, step, envelope = finish.canonical, stream.Stream.step, errors.envelope

    def forgetful(machine: stream.Stream, event: Any, *decided: Any) -> outputs.Step:
        stepped = step(machine, event, *decided)
        is_thought = isinstance(event, events.ReasoningDelta)
        return outputs.Step(stepped.state, ()) if is_thought else stepped

    patch.setattr(finish, "canonical", lambda word, calls=False: canonical(word))
    patch.setattr(stream.Stream, "step", forgetful)
    patch.setattr(sse, "envelope", lambda *parts: envelope(*parts).replace(b"error", b"eror"))


@pytest.mark.parametrize("jobs", [1, 3])
def test_bugs_of_several_kinds_are_a_group_each(
    jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.mixed(tmp_path, 60, segment_bytes=60_000)
    assert checking.checked(tmp_path, jobs).groups == []
    kinds: dict[str, list[str]] = collections.defaultdict(list)
    for row in catalog.Catalog(tmp_path).ended_rows():  # the kind is the end of each id
        kinds[row.summary[7:]].append(row.summary)
    with monkeypatch.context() as patched:
        planted(patched)
        found = checking.checked(tmp_path, jobs)
    hit = {
        replay.Cause(
            "terminal", "done", "reasons ('tool_calls',), body", "reasons ('stop',), body"
        ): (kinds["call"]),
        replay.Cause(
            "reasoning_delta", "held", "content [head role reasoning]", "content []"
        ): kinds["thin"],
        replay.Cause("terminal", "failed", "body", "body"): [
            *kinds["brok"],
            *kinds["exit"],
            *kinds["sile"],
        ],
    }
    assert {group.cause: group.count for group in found.groups} == {
        cause: len(streams) for cause, streams in hit.items()
    }
    for group in found.groups:
        assert group.example.stream == min(hit[group.cause])  # the first of them
        assert group.example.request_id == f"req_{group.example.stream[3:]}"
        assert group.first_us <= group.last_us
    assert found.diverged == sum(map(len, hit.values()))
    assert min(map(len, hit.values())) > 1


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


@pytest.mark.parametrize("jobs", [2, 3, 100])
def test_nor_on_whether_segments_are_compressed(tmp_path: Path, log: Path, jobs: int) -> None:
    copy = tmp_path / "cold"
    shutil.copytree(log, copy)
    paths = coldlogs.compress_all(copy)
    assert {path.suffix for path in paths} == {".gz"}
    whole, plain = checking.checked(copy, 1), checking.checked(log, 1)
    assert checking.checked(copy, jobs) == whole
    assert (whole.tally, whole.diverged, whole.problems) == (plain.tally, plain.diverged, [])


@pytest.mark.slow  # two interpreters are started
def test_compressed_segments_in_other_processes(tmp_path: Path, log: Path) -> None:
    copy = tmp_path / "cold"
    shutil.copytree(log, copy)
    some = coldlogs.figures_of(copy)
    for number in list(some)[::2]:  # of both forms
        compress.compress(copy, number, some[number])
    told: list[int] = []
    assert check.check(copy, reply, 2, told.append) == checking.checked(copy, 1)
    assert sum(told) == pytest.approx(ranges.size(copy), rel=0.2)
    assert ranges.size(copy) == ranges.size(log)


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
