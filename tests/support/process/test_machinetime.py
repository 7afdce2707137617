"""The machine's seconds: never faster than the clock's, and they do end."""

import time

import pytest

from tests.support.process import machinetime


def test_they_pass_no_faster_than_the_clocks() -> None:
    began = time.monotonic()
    watch = machinetime.Stopwatch()
    while (seconds := watch.read()) < 0.02:
        assert seconds <= time.monotonic() - began
    assert machinetime.SLOWEST <= machinetime.pace() <= 1
    assert machinetime.slowness() >= 1


def test_where_more_wants_to_run_than_there_are_cores_they_pass_more_slowly(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    load = tmp_path_factory.mktemp("proc") / "loadavg"
    monkeypatch.setattr(machinetime, "_LOAD", load)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    for runnable, pace in ((0, 1.0), (2, 1.0), (8, 0.25), (1000, machinetime.SLOWEST)):
        load.write_text(f"9.00 9.00 9.00 {runnable}/300 1234\n")
        assert machinetime.pace() == pace
    load.unlink()
    assert machinetime.pace() == 1.0


def test_while_any_process_waits_they_hardly_pass(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("pressure")
    files = (directory / "cpu", directory / "io")
    monkeypatch.setattr(machinetime, "_PRESSURE", files)
    monkeypatch.setattr(machinetime, "_LOAD", directory / "none")
    clock = iter((100.0, 110.0, 120.0, 130.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))

    def wait_for(*seconds: int) -> None:
        for path, each in zip(files, seconds, strict=True):
            line = "avg10=1.00 avg60=1.00 avg300=1.00 total"
            path.write_text(f"some {line}={each * 1_000_000}\nfull {line}=7\n")

    watch = machinetime.Stopwatch()  # where there are no such files, nobody waits
    wait_for(0, 0)
    assert watch.read() == 10
    wait_for(4, 2)
    assert watch.read() == 14
    wait_for(20, 2)
    assert watch.read() == 14 + 10 * machinetime.SLOWEST


def test_a_block_that_takes_too_long_fails() -> None:
    with machinetime.within(machinetime.HANG_S):
        pass
    with pytest.raises(AssertionError, match="and may take"), machinetime.within(0.05):
        watch = machinetime.Stopwatch()
        while watch.read() < 0.2:
            time.sleep(machinetime.PAUSE_S)
