"""Guards of reading a log: CPU time, as ratios to what every machine knows, over the same files.

    python -m pytest bench/test_log_guards.py -m guard

As in `test_guards`, other work can only add to what is measured: rounds alternate, the least of
each side counts, and a measurement over its budget is taken again before it is believed.

A stream is found beside `grep`. A replay is measured beside `json.loads` of each line: `wc -l` is
bound by memory and a replay is not, so that their ratio is three times as high on a busy machine.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import budgets, logcorpus, logtool
from engine.log import replay
from engine.log.find import stories
from engine.log.read import segments
from machines import parse
from server import renderers

pytestmark = pytest.mark.guard

BUDGETS = budgets.load()["log"]

MIB = 24
"""Size of the logs: a replay of one takes half a second on an idle machine."""

ROUNDS = 4
"""Rounds of a measurement, of which the least counts."""

REPEATED = 20
"""How often a program reads the log in one run: once takes it a few milliseconds."""

PLANTED = 1.0
"""The slowdown of a replay that must be noticed: as much again."""


@pytest.fixture(scope="module", params=["masked", "full"])
def log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    content: logcorpus.Content = request.param
    directory = tmp_path_factory.mktemp(content)
    logcorpus.Corpus(directory, content, segment_bytes=8 << 20).write(MIB << 20)
    parse.allow_depth()
    return directory


def cpu_of(work: Callable[[], object]) -> float:
    """CPU seconds of something in this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def cpu_of_program(*command: str) -> float:
    """CPU seconds of one pass of a program that reads the log `REPEATED` times."""
    before = os.times()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    after = os.times()
    used = after.children_user + after.children_system
    return (used - before.children_user - before.children_system) / REPEATED


def files(log: Path) -> list[str]:
    return [str(each.path) for each in segments.list_segments(log)] * REPEATED


def replayed(log: Path) -> None:
    run = replay.Replay(renderers.reply)
    run.run(segments.read(log))
    assert run.divergence is None
    assert run.tally.streams > 100


def loaded(log: Path) -> None:
    """Read each line of a log as JSON, and no more."""
    for each in segments.list_segments(log):
        with each.path.open("rb") as file:
            for line in file:
                json.loads(line)


def ratio(ours: Callable[[], float], theirs: Callable[[], float]) -> float:
    """Our least CPU time, as a part of another's least."""
    pairs = [(ours(), theirs()) for _ in range(ROUNDS)]
    return min(our for our, _ in pairs) / min(their for _, their in pairs)


def replay_ratio(log: Path, slowdown: float = 0.0) -> float:
    """Measure a replay beside the yardstick; `slowdown`: part of its time that it takes longer."""
    return ratio(
        lambda: cpu_of(lambda: replayed(log)) * (1 + slowdown),
        lambda: cpu_of(lambda: loaded(log)),
    )


def content_of(log: Path) -> str:
    return "masked" if log.name.startswith("masked") else "full"


def test_a_replay_costs_little_more_than_to_read_its_json(log: Path, say: budgets.Say) -> None:
    budget = BUDGETS[f"replay_{content_of(log)}"]
    measured = budgets.lowest(lambda: replay_ratio(log), budget)
    say(f"replay of a {content_of(log)} log: {measured:.2f} times `json.loads`")
    assert measured <= budget


def test_a_slower_replay_is_noticed(log: Path, say: budgets.Say) -> None:
    budget = BUDGETS[f"replay_{content_of(log)}"]

    measured = budgets.lowest(lambda: replay_ratio(log, PLANTED), budget)
    say(f"replay of a {content_of(log)} log, twice as slow: {measured:.2f}")
    assert measured > budget


def test_a_stream_is_found_as_fast_as_by_grep(log: Path, say: budgets.Say) -> None:
    budget = BUDGETS["find"]
    name = logtool.ids(log)[-1]

    def find() -> None:
        assert stories.story(log, name).records

    grep = ("grep", "-c", name, *files(log))
    measured = budgets.lowest(
        lambda: ratio(lambda: cpu_of(find), lambda: cpu_of_program(*grep)), budget
    )
    say(f"one stream of a {content_of(log)} log: {measured:.1f} times `grep`")
    assert measured <= budget
