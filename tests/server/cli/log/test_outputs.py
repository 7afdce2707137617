"""Why a file cannot be made is said with what to do about it."""

from pathlib import Path

import pytest

from engine import regular
from server.cli.log import outputs


def refused(path: Path, data: bytes = b"x") -> list[str]:
    with pytest.raises(outputs.Unwritable) as refusal:
        outputs.write(path, data)
    return [str(refusal.value), *getattr(refusal.value, "__notes__", ())]


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "none" / "file") == [
        f"{tmp_path}/none/file: cannot be written: No such file or directory",
        f"There is no directory {tmp_path}/none; make it first.",
    ]


def test_a_file_is_no_place_for_another(tmp_path: Path) -> None:
    (tmp_path / "afile").touch()
    for path in (tmp_path / "afile" / "one", tmp_path / "afile" / "more" / "one"):
        _, advice = refused(path)
        assert advice == f"{tmp_path}/afile is no directory; name another place."


def test_a_full_disk_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(regular, "replace", full)
    what, advice = refused(tmp_path / "file")
    assert what == f"{tmp_path}/file: cannot be written: No space left on device"
    assert advice.startswith("Nothing was written; make room")


def test_a_directory_where_a_file_is_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(outputs.Unwritable, match="something else is there"):
            outputs.make_directory(path)
    outputs.make_directory(tmp_path / "new" / "below")
    assert (tmp_path / "new" / "below").is_dir()


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert outputs.in_the_way(file, force=False) == ()
    file.touch()
    assert outputs.in_the_way(file, force=False) == (f"{file}: exists; --force replaces it",)
    assert outputs.in_the_way(file, force=True) == ()
    (said,) = outputs.in_the_way(tmp_path, force=True)
    assert said == f"{tmp_path}: is a directory; name a file in it"
    (said,) = outputs.in_the_way(Path("/dev/null"), force=True)
    assert "is not a regular file" in said
