"""What `turntape stats` counts is what the log's terminal records say."""

import json
from pathlib import Path

import pytest

from server.cli import printing
from server.cli.log import stats
from tests.server.cli.log import asked
from tests.support.logs import logs, summaries


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """18 good streams and two bad ones, of two models; the good ones took 1 to 18 ms to begin."""
    good = [
        {"ttft_us": 1000 * number, "longest_gap_us": 10 * number, "model": "a", "key": "ci"}
        for number in range(1, 19)
    ]
    bad = {"kind": "timeout", "status": 504, "code": "upstream_timeout", "model": "b"}
    return asked.write(tmp_path / "log", *good[:10], bad, *good[10:], bad)


def told(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, object]:
    status, said, _ = asked.run(capfd, "stats", *arguments, "--json")
    assert status == 0
    found: dict[str, object] = json.loads(said)
    return found


def test_a_summary_that_lies_is_not_counted(
    directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = told(capfd, directory, "--by", "key")
    summaries.forge(directory, lambda row: {**row, "kind": "empty", "key": "eve", "ttft_us": 1})
    assert told(capfd, directory, "--by", "key") == before


def test_endings_shares_and_percentiles(
    directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    counted = told(capfd, directory)
    assert counted["all"] == {
        "name": "all",
        "streams": 20,
        "failed": 2,
        "share_failed": 0.1,
        "kinds": {"completed": 18, "timeout": 2},
        "ttft": {"p50": 9000, "p95": 18000, "p99": 18000},
        "gap": {"p50": 80, "p95": 170, "p99": 180},
    }
    assert (counted["last_good"], counted["first_bad"]) == ("st_0009", "st_0010")


def test_filters_hold_here_too(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    counted = told(capfd, directory, "--model", "b")
    assert (counted["last_good"], counted["first_bad"]) == (None, "st_0010")
    status, _, complained = asked.run(capfd, "stats", directory, "--model", "c")
    assert status == 3
    assert "The log covers" in complained


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("model", ["b", "a"]),
        ("code", ["upstream_timeout", "(none)"]),
        ("key", ["(none)", "ci"]),
        ("hour", ["2025-11-30 12:00"]),
    ],
)
def test_groups_have_those_that_fail_first(
    by: str, names: list[str], directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    counted = told(capfd, directory, "--by", by, "--utc")
    groups = counted["by"]
    assert isinstance(groups, dict)
    assert [each["name"] for each in groups[by]] == names


def test_the_text_says_the_same_in_80_columns(
    directory: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status, said, _ = asked.run(capfd, "stats", directory, "--by", "code", "--utc")
    assert status == 0
    assert "20 streams, 2 failed (10.0%)" in said
    assert "last good   2025-11-30 12:09:00 UTC  st_0009" in said
    assert "first bad   2025-11-30 12:10:00 UTC  st_0010" in said
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize("width", [80, None])
def test_a_long_code_is_cut_only_for_a_terminal(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    width: int | None,
) -> None:
    code = "_".join(("quota", "exceeded", "for", "this", "model") * 4)
    failed = {"kind": "upstream_error", "status": 402, "code": code}
    asked.write(tmp_path, {}, failed, content="full")
    if width is not None:
        monkeypatch.setenv("COLUMNS", str(width))
    _, said, _ = asked.run(capfd, "stats", tmp_path)
    assert (code in said) is (width is None)
    assert width is None or max(map(len, said.splitlines())) <= width


@pytest.mark.parametrize(
    ("width", "titles"),
    [(None, "ttft longest gap"), (80, "ttft longest gap"), (60, "ttft"), (40, "")],
)
def test_in_a_pipe_names_are_whole_and_a_narrow_terminal_has_fewer_columns(
    width: int | None,
    titles: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "a-model-of-a-very-long-name-indeed"
    asked.write(tmp_path, {"stream": f"st_{'a' * 24}", "model": name}, {"kind": "timeout"})
    if width is not None:
        monkeypatch.setenv("COLUMNS", str(width))
    _, said, _ = asked.run(capfd, "stats", tmp_path, "--by", "model", "--utc")
    lines = said.splitlines()
    assert (name in said) is (width is None)
    assert "timeout" in said
    assert f"st_{'a' * 24}" in said
    assert ([line for line in lines if "ttft" in line][-1].split() == titles.split()) is bool(
        titles
    )
    if width is not None:
        assert max(map(len, lines)) <= width


def test_percentiles_are_of_nearest_rank() -> None:
    assert stats.percentiles([]) == {}
    assert stats.percentiles([7]) == {"p50": 7, "p95": 7, "p99": 7}
    assert stats.percentiles(range(100, 0, -1)) == {"p50": 50, "p95": 95, "p99": 99}


def test_a_refusal_stands_for_as_many_as_it_says(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    event_log = logs.open_log(tmp_path, **summaries.KEPT)
    summaries.write(event_log, "st_1")
    summaries.reject(event_log, "req_1", count=9)
    event_log.close()
    counted = told(capfd, tmp_path)["all"]
    assert isinstance(counted, dict)
    assert (counted["streams"], counted["failed"]) == (10, 9)


@pytest.mark.parametrize(("content", "names"), [("full", 3), ("masked", 2)])
def test_models_are_told_apart_as_far_as_their_names_are_kept(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: str, names: int
) -> None:
    models = ("mein Modell", "sein Modell", "模型 7b")
    written = [{"model": model} for model in models]
    directory = asked.write(tmp_path, *written, content=content)
    by = told(capfd, directory, "--by", "model")["by"]
    assert isinstance(by, dict)
    assert len(by["model"]) == names
    listed = asked.listed(capfd, directory, "--model", "sein Modell")
    assert listed == (["st_0001"] if content == "full" else [])


def test_a_name_of_any_script_keeps_the_columns(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    models = ("模型" * 9, "\x1b[31mred\x1b[0m wine " * 3, "plain")
    directory = asked.write(tmp_path, *({"model": model} for model in models), content="full")
    _, said, _ = asked.run(capfd, "stats", directory, "--by", "model")
    rows = said.splitlines()[-3:]
    assert len({printing.columns(row[: row.index("0.0%")]) for row in rows}) == 1
    _, said, _ = asked.run(capfd, "log", directory, "--utc")
    lines = said.splitlines()
    assert max(map(printing.columns, lines)) <= 80
    ids = {printing.columns(line[: line.index("st_")]) for line in lines if "st_" in line}
    assert len(ids) == 1
