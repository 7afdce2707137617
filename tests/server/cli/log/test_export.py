"""`turntape export` as its user sees it."""

import stat
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import pytest

from engine.log.find import stories
from server.cli import command_line as cli
from server.cli.log import export
from tests.engine.log.derive import logsforderiving as deriving
from tests.server.cli.log import asked

WORD = deriving.WORD.encode()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    deriving.write(tmp_path / "log")
    return tmp_path / "log"


def run(*arguments: str | Path) -> int:
    return cli.main(["export", *map(str, arguments)])


def test_it_is_masked_unless_it_is_asked_not_to_be(
    log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for flags, is_masked in (((), True), (("--mask",), True), (("--no-mask",), False)):
        file = tmp_path / f"{'-'.join(flags)}x.jsonl"
        assert run("st_0001", "req_2", "--log", log, "-o", file, *flags) == 0
        assert (WORD in file.read_bytes()) is not is_masked
        said = capfd.readouterr().err
        assert "2 streams, " in said
        assert ("texts are masked" in said) is is_masked
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert cli.main(["replay", str(file)]) == 0
        assert "2 streams" in capfd.readouterr().out


def test_a_file_is_replaced_only_by_force(log: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(b"mine")
    assert run("st_0001", "--log", log, "-o", file) == 2
    assert file.read_bytes() == b"mine"
    assert run("st_0001", "--log", log, "-o", file, "--force") == 0
    assert file.read_bytes() != b"mine"
    assert run("st_0001", "--log", log, "-o", tmp_path, "--force") == 2
    assert run("st_0001", "--log", log, "-o", tmp_path / "events-00000001.jsonl") == 2


def test_to_stdout(log: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("st_0001", "--log", log, "-o", "-") == 0
    written = capfdbinary.readouterr().out
    assert written.startswith(b'{"segment":0,')
    assert b'"stream":"st_0001"' in written


def test_an_unknown_id_is_3_and_nothing_is_written(log: Path, tmp_path: Path) -> None:
    assert run("st_0001", "st_9", "--log", log, "-o", tmp_path / "x.jsonl") == 3
    assert not (tmp_path / "x.jsonl").exists()


def test_a_stream_that_is_not_whole_is_1(
    log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = log / "events-00000001.jsonl"
    lines = first.read_bytes().splitlines(keepends=True)
    first.write_bytes(b"".join(lines[:3] + lines[4:]))
    assert run("st_0000", "--log", log, "-o", tmp_path / "x.jsonl") == 1
    assert "st_0000 is not whole" in capfd.readouterr().err


class Listing(types.ModuleType):
    """A format that writes the names and the texts of streams."""

    def write(self, found: Sequence[stories.Story], file: BinaryIO) -> None:
        for story in found:
            file.write(f"{story.stream}: {len(story.records)}\n".encode())
            file.write(b"".join(record.raw for record in story.records))


def test_another_format_is_given_what_may_be_shown(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = Listing("listing")
    listing.__spec__ = types.SimpleNamespace()  # type: ignore[assignment] # that it has one is all
    monkeypatch.setitem(sys.modules, "listing", listing)
    monkeypatch.setitem(export.FORMATS, "listing", "listing")
    for flag in ("--mask", "--no-mask"):
        file = tmp_path / flag
        found = ("st_0002", "st_0001", "--log", log, "-o", file, flag, "--format", "listing")
        assert run(*found) == 0
        data = file.read_bytes()
        assert data.startswith(b"st_0002: ")
        assert b"st_0001: " in data
        assert (WORD in data) is (flag == "--no-mask")


def test_a_format_that_is_not_installed_is_not_offered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(export.FORMATS, "none", "server.cli.log.nothing.none")
    assert "none" not in export.available()


def test_a_masked_log_has_no_texts_to_keep(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked.write(tmp_path / "log", {}, {"kind": "open"})
    arguments = ("--log", tmp_path / "log", "-o", tmp_path / "x.jsonl", "--no-mask")
    assert run("st_0000", *arguments) == 0
    assert "texts are masked, for the log has no others" in capfd.readouterr().err


def test_a_stream_that_has_not_ended_is_1_with_what_to_do(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked.write(tmp_path / "log", {"kind": "open"})
    assert run("st_0000", "--log", tmp_path / "log", "-o", tmp_path / "x.jsonl") == 1
    assert capfd.readouterr().err.splitlines() == [
        "turntape: st_0000 has not ended, or its end is missing",
        "turntape: `turntape show st_0000` says how far it is; take it out when it has ended.",
    ]


def test_a_file_that_cannot_be_written_is_named_as_it_was_typed(
    log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "none" / "x.jsonl"
    assert run("st_0001", "--log", log, "-o", file) == 1
    assert capfd.readouterr().err.splitlines() == [
        f"turntape: {file}: cannot be written: No such file or directory",
        f"turntape: There is no directory {file.parent}; make it first.",
    ]
