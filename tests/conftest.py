"""Settings that every test shares, and how the suite is spread over the machine's cores.

A run of the whole suite or of a directory uses every core. One that only names files or tests
stays in one process, where it starts at once and can be debugged. `-n` says otherwise.
"""

import itertools
import os
import signal
from collections.abc import Iterator
from typing import Any, Final

import hypothesis
import pytest

# Time is measured where a test says so: on a loaded machine slow examples are no defect.
# A run draws other examples each time: many short runs see as much as a few long ones.
THOROUGH = hypothesis.settings(
    deadline=None, max_examples=100, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("thorough", THOROUGH)
hypothesis.settings.register_profile("usual", THOROUGH, max_examples=30)
hypothesis.settings.register_profile("quick", THOROUGH, max_examples=10)
hypothesis.settings.load_profile("usual")

INDEPENDENT: Final = frozenset(
    (
        "tests/machines/tools/test_buffer.py",
        "tests/machines/tools/test_fragments.py",
        "tests/machines/tools/test_blocks.py",
        "tests/test_simulator.py",
        "tests/test_transcripts.py",
    )
)
"""Long files whose tests share no server: they run last, each test on whichever core is free."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """How many processes `-n auto` stands for: more than cores, for half the time tests wait."""
    only_files = all(".py" in argument for argument in config.args)
    return 0 if only_files else 3 * len(os.sched_getaffinity(0)) // 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Any:
    """Give a file whole to one process, for its tests share a server; not so independent ones."""
    from xdist.scheduler import LoadScopeScheduling  # only where it is in use

    class ByFile(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return nodeid if path in INDEPENDENT else path

    return ByFile(config, log)


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take the mark off the variants of a long test that are usual, and put last what fills the
    gaps at the end of a run."""
    named = set(itertools.chain.from_iterable(map(_take_usual, items)))
    found = {(where, name) for where, name, is_it in named if is_it}
    nobody = {(where, name) for where, name, _ in named} - found
    if nobody and not any("::" in argument for argument in config.args):
        raise pytest.UsageError(f"no variants of that name: {sorted(nobody)}")
    items.sort(key=lambda item: item.nodeid.partition("::")[0] in INDEPENDENT)


@pytest.fixture
def hangup_by_default() -> Iterator[None]:
    """SIGHUP as a shell leaves it, also where the whole run ignores it, as `nohup` has it."""
    usual = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, usual)


def _take_usual(item: pytest.Item) -> Iterator[tuple[str, str, bool]]:
    """Take the mark off an item that its test names as usual.

    Yields the test, each name that its mark has, and whether the item has that name.
    """
    mark = item.get_closest_marker("long")
    if mark is None or not isinstance(item, pytest.Function):
        return
    name = item.callspec.id if hasattr(item, "callspec") else ""
    for usual in mark.kwargs.get("usual", ()):
        if name == usual:
            item.own_markers.remove(mark)
        yield item.nodeid.partition("[")[0], usual, name == usual
