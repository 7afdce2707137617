"""`turntape purge` as its user sees it."""

import asyncio
import io
import json
import sys
import time
from pathlib import Path

import pytest

from engine.log.derive import purging
from engine.log.read import segments
from engine.log.summary import sidecars
from engine.log.write import chainlock, rewriting
from engine.store import sqlite as sqlitestore, store as responsestore
from machines import events
from server.cli import command_line as cli
from server.keys import keyring
from tests.engine.log.derive import logsforderiving as deriving
from tests.server.cli.log import asked
from tests.support.logs import logs


@pytest.fixture
def log(tmp_path: Path) -> Path:
    deriving.write(tmp_path / "log")
    return tmp_path / "log"


def run(*arguments: str | Path) -> int:
    return cli.main(["purge", *map(str, arguments)])


def left(log: Path) -> set[str]:
    reading = segments.read(log)
    found = {record.stream for record in reading}
    assert reading.problems == []
    return found


ALL = {f"st_{number:04}" for number in range(6)}


def test_by_any_id(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("req_1", "st_0003", "--log", log, "--yes") == 0
    assert "erased: 2 streams" in capfd.readouterr().out
    assert left(log) == ALL - {"st_0001", "st_0003"}
    assert run("req_1", "--log", log, "--yes") == 3
    assert cli.main(["replay", str(log)]) == 0
    assert "2 purged" in capfd.readouterr().out


def test_by_key(log: Path) -> None:
    assert run("--key", "beta", "--log", log, "--yes") == 0
    assert left(log) == {"st_0000", "st_0002", "st_0004"}
    assert run("--key", "gamma", "--log", log, "--yes") == 3


def test_by_time(log: Path) -> None:
    assert run("--before", "2001-01-01", "--log", log, "--yes") == 3
    assert run("--before", "2030-01-01", "--log", log, "--yes") == 0
    assert left(log) == set()


@pytest.mark.parametrize("when", ["12:03", "2025-11-30T12:03", "2025-11-30T12:03Z", "1764504180"])
def test_a_time_is_said_as_to_the_other_commands(
    when: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of streams that end a minute after each other, from 12:00 to 12:05, those go that
    `turntape log --since` does not list."""
    log = asked.write(tmp_path / "timed", *({} for _ in range(6)))
    kept = asked.listed(capfd, log, "--utc", "--since", when)
    assert kept == ["st_0003", "st_0004", "st_0005"]
    assert run("--before", when, "--utc", "--log", log, "--yes") == 0
    assert left(log) == {*kept}


def test_how_long_ago_is_reckoned_from_now(tmp_path: Path) -> None:
    """Of a log that nothing is written to any more what is old goes, and of another nothing."""
    old = asked.write(tmp_path / "old", {}, {})
    assert run("--before", "30d", "--log", old, "--yes") == 0
    assert left(old) == set()
    new = tmp_path / "new"
    deriving.write(new, streams=1, clock=logs.Clock(time.time_ns() // 1000 - 3600 * 1_000_000))
    assert run("--before", "1d", "--log", new, "--yes") == 3
    assert run("--before", "30m", "--log", new, "--yes") == 0


def test_a_time_that_is_none_is_named(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("--before", "tomorrow", "--log", log, "--yes") == 2
    assert "--before tomorrow: it takes a time such as 14:05" in capfd.readouterr().err
    assert left(log) == ALL


def test_of_a_key_those_before_a_time(tmp_path: Path) -> None:
    log = asked.write(tmp_path / "timed", *({"key": key} for key in ("a", "b", "a", "b", "a")))
    assert run("--key", "a", "--before", "12:03", "--utc", "--log", log, "--yes") == 0
    assert left(log) == {"st_0001", "st_0003", "st_0004"}


def test_a_dry_run_writes_nothing(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("st_0001", "--log", log, "--dry-run") == 0
    assert "to erase: 1 stream, " in capfd.readouterr().out
    assert left(log) == ALL


def test_without_a_terminal_nobody_is_asked_and_nothing_is_erased(
    log: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("st_0001", "--log", log) == 2
    assert "--yes" in capfd.readouterr().err
    assert left(log) == ALL


@pytest.mark.parametrize("arguments", [(), ("st_1", "--key", "beta"), ("st_1", "--before", "1d")])
def test_one_way_to_choose_is_given(log: Path, arguments: tuple[str, ...]) -> None:
    assert run(*arguments, "--log", log, "--yes") == 2


# What was purged is told as such.

ABOUT_ONE = {
    "show": ("show", "st_0001"),
    "its bytes": ("show", "st_0001", "--client"),
    "diff": ("diff", "st_0001"),
    "export": ("export", "st_0001", "-o", "-"),
    "export as a page": ("export", "st_0001", "--format", "html", "-o", "-"),
    "a test": ("test", "st_0001", "-o", "nowhere"),
    "play": ("play", "st_0001"),
    "check": ("check", "st_0001"),
}


@pytest.mark.parametrize("command", ABOUT_ONE.values(), ids=ABOUT_ONE)
def test_who_asks_for_a_purged_stream_is_told(
    command: tuple[str, ...],
    log: Path,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    asked.run(capfd, "purge", "st_0001", "--log", log, "--yes")
    status, said, complained = asked.run(capfd, *command, "--log", log)
    assert (status, said) == (3, "")
    assert "st_0001 was purged: its records were erased" in complained


def test_a_list_and_figures_tell_which_were_purged(
    log: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked.run(capfd, "purge", "st_0001", "--log", log, "--yes")
    _, said, _ = asked.run(capfd, "log", log)
    assert [line.split()[-1] for line in said.splitlines() if " purged " in line] == ["st_0001"]
    assert asked.listed(capfd, log, "-q", "is:purged") == ["st_0001"]
    _, said, _ = asked.run(capfd, "log", log, "--json", "-q", "id:st_0001")
    row = json.loads(said)
    assert row["purged"] > 0
    status, said, _ = asked.run(capfd, "show", "st_0001", "--json", "--log", log)
    assert (status, json.loads(said)) == (3, row)
    assert "1 of them purged" in asked.run(capfd, "stats", log)[1]
    assert json.loads(asked.run(capfd, "stats", log, "--json")[1])["purged"] == 1


def test_no_purged_stream_is_compared_with(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asked.run(capfd, "purge", "st_0001", "--log", log, "--yes")
    status, said, complained = asked.run(capfd, "diff", "st_0002", "--log", log)
    assert (status, complained) == (0, "")
    assert "good  st_0000" in said  # st_0001 was nearer, or as near


def test_a_file_is_not_purged(log: Path) -> None:
    assert run("st_0001", "--log", log / "events-00000001.jsonl", "--yes") == 2


def test_a_damaged_log_is_2(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = segments.list_segments(log)[0].path
    path.write_bytes(path.read_bytes().replace(b"req_0", b"req_8"))
    assert run("st_0001", "--log", log, "--yes") == 2
    assert "corrupt" in capfd.readouterr().err


def test_what_is_no_file_is_named_with_how_to_go_on(
    log: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    aside = log / f"{sidecars.name_of(1)}{sidecars.ASIDE}"
    aside.symlink_to(log)
    assert run("st_0001", "--log", log, "--yes") == 1
    what, step = capfd.readouterr().err.splitlines()
    assert what == f"turntape: {aside}: is not a regular file"
    assert "Take it away, and purge again." in step
    assert left(log) == ALL
    aside.unlink()
    assert run("st_0001", "--log", log, "--yes") == 0


def test_beside_a_server(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    event_log = logs.open_log(log, segment_bytes=4000, content="full")
    for number in range(4):
        deriving.play(event_log, number)
    logs.wait_for_chores(event_log)
    assert run("st_0003", "--log", log, "--yes") == 1
    said = capfd.readouterr().err
    assert "1 stream not erased, st_0003" in said
    assert "a server writes to" in said
    assert run("--key", "beta", "--log", log, "--yes") == 1
    captured = capfd.readouterr()
    assert "erased: 1 stream, " in captured.out
    assert "st_0003" in captured.err
    event_log.close()
    assert left(log) == {"st_0000", "st_0002", "st_0003"}


def stored(tmp_path: Path, log: Path) -> Path:
    """A log with a stream whose response was kept; the store."""
    event_log = logs.open_log(log, content="full")
    stream = event_log.stream("st_kept")
    stream.open(
        logs.opened(completion_id="resp_1", endpoint=events.RESPONSES, stored=True, key="alpha")
    )
    stream.close(logs.TERMINAL, "done")
    event_log.flush()
    event_log.close()
    path = tmp_path / "responses.sqlite"
    asyncio.run(_keep(path))
    return path


async def _keep(path: Path, response: str = "resp_1") -> None:
    store = sqlitestore.SqliteStore(path, responsestore.Limits(), time.time)
    await store.open()
    kept = responsestore.StoredResponse(
        response_id=response,
        key_id=keyring.id_of("alpha"),
        created_at=1,
        status="completed",
        body=b"{}",
    )
    await store.put(kept)
    await store.close()


async def _get(path: Path, response: str = "resp_1") -> responsestore.StoredResponse | None:
    store = sqlitestore.SqliteStore(path, responsestore.Limits(), time.time)
    await store.open()
    try:
        return await store.get(response, keyring.id_of("alpha"))
    finally:
        await store.close()


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROXY_DATA_DIR", str(tmp_path))
    return stored(tmp_path, tmp_path / "log")


def test_a_kept_response_goes_too(configured: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert asyncio.run(_get(configured)) is not None
    assert run("st_kept", "--yes") == 0
    assert "; 1 kept response\n" in capfd.readouterr().out
    assert asyncio.run(_get(configured)) is None


def test_of_what_a_server_writes_to_the_response_is_left_too(
    configured: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    event_log = logs.open_log(tmp_path / "log", content="full")
    stream = event_log.stream("st_later")
    first = logs.opened(
        completion_id="resp_2", endpoint=events.RESPONSES, stored=True, key="alpha"
    )
    stream.open(first)
    event_log.flush()
    asyncio.run(_keep(configured, "resp_2"))
    assert run("--key", "alpha", "--yes") == 1
    said = capfd.readouterr()
    assert "erased: 1 stream, 2 records in 1 segment; 1 kept response\n" in said.out
    assert "1 stream not erased, st_later" in said.err
    event_log.close()
    assert asyncio.run(_get(configured)) is None
    assert asyncio.run(_get(configured, "resp_2")) is not None


def test_where_another_purge_is_at_work_it_is_said_that_responses_went(
    configured: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rewriting, "ALONE_S", 0.01)
    with chainlock.alone(tmp_path / "log"):
        assert run("st_kept", "--yes") != 0
    what, step = capfd.readouterr().err.splitlines()
    assert "another process rewrites segments here; try again" in what
    assert "Of them 1 kept response was erased, and no records." in step
    assert left(tmp_path / "log") == {"st_kept"}
    assert run("st_kept", "--yes") == 0
    assert left(tmp_path / "log") == set()


def test_of_a_log_elsewhere_no_store_is_known(
    configured: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PROXY_DATA_DIR", str(tmp_path / "other"))
    assert run("st_kept", "--log", tmp_path / "log", "--yes") == 0
    assert "warning: responses of them may be left: 1 were kept" in capfd.readouterr().err
    assert asyncio.run(_get(configured)) is not None


def test_where_the_store_is_a_server_s_nothing_is_erased(
    configured: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def beside() -> None:
        store = sqlitestore.SqliteStore(configured, responsestore.Limits(), time.time)
        await store.open()
        try:
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(None, run, "st_kept", "--yes") == 1
            assert left(tmp_path / "log") == {"st_kept"}
            again = ("st_kept", "--yes", "--keep-responses")
            assert await loop.run_in_executor(None, run, *again) == 0
        finally:
            await store.close()

    asyncio.run(beside())
    assert "nothing was erased" in capfd.readouterr().err
    assert left(tmp_path / "log") == set()
    assert asyncio.run(_get(configured)) is not None


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ((), 2, "name what is to be erased: the ids of streams, --key, --before or both"),
        (
            ("st_1", "--key", "beta"),
            2,
            "give the ids of streams alone, or --key, --before or both",
        ),
        (("--key", "gamma", "--yes"), 3, "nothing to erase: no stream has the key gamma"),
        (("--before", "2001-01-01"), 3, "nothing to erase: no stream ended before 2001-01-01\n"),
        (
            ("--key", "gamma", "--before", "2001-01-01"),
            3,
            "no stream has the key gamma and ended before 2001-01-01;",
        ),
    ],
)
def test_why_nothing_is_erased_is_said(
    log: Path,
    arguments: tuple[str, ...],
    status: int,
    said: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(*arguments, "--log", log) == status
    assert said in capfd.readouterr().err


def test_a_log_that_is_not_there_is_said_as_by_the_other_commands(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("st_1", "--log", tmp_path / "none") == 1
    assert "No such file or directory" in capfd.readouterr().err
    (tmp_path / "file").touch()
    assert run("st_1", "--log", tmp_path / "file") == 2


def test_who_is_asked_and_says_no_is_told_that_nothing_was_erased(
    log: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO("n\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    assert run("st_0001", "--log", log) == 1
    assert capfd.readouterr().err == "turntape: nothing was erased\n"
    assert left(log) == ALL


def test_a_disk_that_is_full_is_said_with_what_to_do(
    log: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **flags: object) -> None:
        raise OSError(28, "No space left on device", "segment")

    monkeypatch.setattr(purging, "purge", full)
    assert run("st_0001", "--log", log, "--yes") == 1
    what, step = capfd.readouterr().err.splitlines()
    assert what == "turntape: segment: No space left on device"
    assert "the same command erases the rest" in step
