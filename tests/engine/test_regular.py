"""Where something else lies in the place of a log's file, nothing hangs and nothing is harmed."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog.testing

from engine import regular
from engine.log import event_log as eventlog
from engine.log.content import digest
from engine.log.read import segments
from tests.support.logs import logs
from tests.support.process import machinetime, serving

NAMES = ("lock", "chain", "checkpoint", "events-00000001.jsonl", "events-00000007.jsonl")

TARGET = b"somebody else's\n"


def fifo(path: Path) -> None:
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.mkdir()


def unix_socket(path: Path) -> None:
    parent = os.open(path.parent, os.O_RDONLY)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as made:
        made.bind(f"/proc/self/fd/{parent}/{path.name}")  # a socket's path must be short
    os.close(parent)


def link(path: Path) -> None:
    target = path.with_name("target")
    target.write_bytes(TARGET)
    path.symlink_to(target)


def dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


THINGS = (fifo, directory, unix_socket, link, dangling_link)

each_thing = pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.__name__)


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    """A log that was closed."""
    event_log = logs.open_log(tmp_path / "log")
    logs.write_stream(event_log, "s")
    event_log.close()
    return tmp_path / "log"


@each_thing
@pytest.mark.parametrize("name", NAMES)
def test_a_start_refuses_it_by_name(
    log_dir: Path, thing: Callable[[Path], None], name: str
) -> None:
    path = log_dir / name
    path.unlink(missing_ok=True)
    thing(path)
    with pytest.raises(regular.NotRegular) as refused:
        eventlog.EventLog(logs.settings(log_dir), logs.Clock()).open()
    assert (refused.value.filename, refused.value.strerror) == (
        str(path),
        "is not a regular file",
    )
    assert not (log_dir / "nowhere").exists()
    if thing is link:
        assert (log_dir / "target").read_bytes() == TARGET


@each_thing
@pytest.mark.parametrize("name", [digest.KEY_NAME, f"{digest.KEY_NAME}.new"])
def test_a_key_is_not_read_from_it_nor_written_to_it(
    tmp_path: Path, thing: Callable[[Path], None], name: str
) -> None:
    thing(tmp_path / name)
    with pytest.raises(regular.NotRegular, match=name):
        digest.load_key(tmp_path)
    assert not (tmp_path / "nowhere").exists()
    if thing is link:
        assert (tmp_path / "target").read_bytes() == TARGET


@each_thing
def test_a_segment_that_is_none_is_corrupt_to_a_reader(
    log_dir: Path, thing: Callable[[Path], None]
) -> None:
    path = log_dir / segments.segment_name(1)
    path.unlink()
    thing(path)
    reading = segments.read(log_dir)
    assert list(reading) == []
    (problem,) = reading.problems
    assert (problem.path, problem.reason) == (path, "is not a regular file")


def test_a_directory_of_the_log_may_be_a_link(log_dir: Path) -> None:
    """So disks are put in place."""
    linked = log_dir.with_name("linked")
    linked.symlink_to(log_dir)
    event_log = logs.open_log(linked)
    logs.write_stream(event_log, "t")
    event_log.close()
    assert list(logs.streams_of(log_dir)) == ["s", "t"]


def test_a_file_that_is_read_alone_may_be_a_link(log_dir: Path) -> None:
    alone = log_dir.with_name("alone.jsonl")
    alone.symlink_to(log_dir / segments.segment_name(1))
    assert len(list(segments.read(alone))) == 5


@pytest.mark.parametrize("name", ["lock", "hash.key", "events-00000001.jsonl"])
def test_the_command_says_it_in_a_line(tmp_path: Path, name: str) -> None:
    log_dir = tmp_path / "log"
    log_dir.mkdir()
    os.mkfifo(log_dir / name)
    arguments = ("serve", "--worker", "scripted", "--port", "0", "--log-dir", str(log_dir))
    done = subprocess.run(
        (sys.executable, "-m", "server", *arguments),
        cwd=serving.ROOT,
        env={**os.environ, "PROXY_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=machinetime.HANG_S,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert lines == [f"turntape: {log_dir / name}: is not a regular file"]


@pytest.mark.parametrize("text", ["", "0", "00" * 15, "00" * 17, "no key" * 6, "\0" * 32])
def test_a_key_that_is_none_is_replaced_loudly_and_kept_aside(tmp_path: Path, text: str) -> None:
    path = tmp_path / digest.KEY_NAME
    path.write_text(text)
    with structlog.testing.capture_logs() as said:
        key = digest.load_key(tmp_path)
    assert [(line["event"], line["log_level"]) for line in said] == [
        ("hash_key_replaced", "error")
    ]
    assert len(key) == digest.HASH_BYTES
    assert digest.load_key(tmp_path) == key
    assert (tmp_path / "hash.key.damaged").read_text() == text
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_is_made_once(tmp_path: Path) -> None:
    key = digest.load_key(tmp_path)
    assert digest.load_key(tmp_path) == key
    assert digest.load_key(tmp_path / "..") != key
    (tmp_path / ".." / digest.KEY_NAME).unlink()
