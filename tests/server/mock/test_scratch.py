"""A directory of a mock is deleted at its end, or at the next start where there was no end."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.mock import scratch
from tests.support.process import serving

HOLDER = (
    "from server.mock import scratch\n"
    "with scratch.directory() as path:\n"
    "    print(path, flush=True)\n"
    "    input()\n"
)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_it_is_deleted_with_all_that_is_in_it(temporary: Path) -> None:
    with scratch.directory() as path:
        assert Path(path).parent.parent == temporary
        assert list(Path(path).iterdir()) == []
        (Path(path) / "log").mkdir()
        (Path(path) / "log" / "a").write_text("b")
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_has_left_is_swept_and_what_is_held_is_not(temporary: Path) -> None:
    command = (sys.executable, "-c", HOLDER)
    with (
        scratch.directory() as mine,
        subprocess.Popen(
            command,
            cwd=serving.ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as holder,
    ):
        assert holder.stdout is not None
        path = Path(holder.stdout.readline().strip())
        (path / "log").write_text("what was asked")
        left = path.parent
        scratch.sweep()
        assert {*temporary.iterdir()} == {Path(mine).parent, left}
        holder.kill()
        holder.wait()
        assert left.is_dir()
        scratch.sweep()
        assert list(temporary.iterdir()) == [Path(mine).parent]


def test_what_only_has_such_a_name_is_left_alone(temporary: Path) -> None:
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (temporary / f"{scratch.PREFIX}link").symlink_to(elsewhere)
    (temporary / f"{scratch.PREFIX}file").write_text("mine")
    recordings = temporary / f"{scratch.PREFIX}recordings"
    recordings.mkdir()
    (recordings / "a.jsonl").write_text("mine")
    scratch.sweep()
    assert len([*temporary.iterdir()]) == 4
    assert (recordings / "a.jsonl").read_text() == "mine"
