"""A word that nobody knows is a mistake, and what there is instead is said."""

from pathlib import Path

import pytest

from server.cli.log import values
from tests.server.cli.log import asked


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return asked.write(
        tmp_path,
        {},
        {"kind": "upstream_error", "status": 502, "code": "vendor_quota_37"},
        {"kind": "client_gone", "cause": "left", "status": 0},
    )


KINDS = f"It takes {', '.join(values.KINDS)}."

PREFIX = "finds all that begin so, and is never refused."


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ("--kind", "timout"),
            ("--kind timout: there is no kind timout; did you mean timeout?", KINDS),
        ),
        (("--kind", "timeout,zzz"), ("--kind timeout,zzz: there is no kind zzz", KINDS)),
        (("--query=-kind:zzz",), ("-kind:zzz: there is no kind zzz", KINDS)),
        (
            ("--code", "idle_timout"),
            (
                "--code idle_timout: neither the log nor this version has a code idle_timout; did",
                "The log has vendor_quota_37.",
                f"idle_timout* {PREFIX}",
            ),
        ),
        (
            ("--status", "999"),
            ("--status 999: no answer has that status: it takes 100 to 599, 5xx, or 0 for none",),
        ),
        (("--within", "5m"), ("--within 5m: it goes with around or since",)),
        (("-q", "cause:lost"), ("cause:lost: there is no cause lost", "It takes left, ")),
        (("-q", "owner:me"), ("owner:me: there is no owner me", "It takes worker, client, ")),
        (("-q", "finish:end"), ("finish:end: there is no finish end", "It takes stop, ")),
    ],
)
@pytest.mark.parametrize("command", ["log", "stats"])
def test_it_is_wrong_usage(
    command: str,
    flags: tuple[str, ...],
    said: tuple[str, ...],
    directory: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    status, out, complained = asked.run(capfd, command, directory, *flags)
    assert (status, out) == (2, "")
    lines = complained.splitlines()
    assert len(lines) == len(said)
    for line, begins in zip(lines, said, strict=True):
        assert line.startswith(f"turntape: {begins}")


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        (("--kind", "timeout"), 3),
        (("--kind", "CLIENT_GONE"), 0),
        (("--code", "worker_exited"), 3),
        (("--code", "vendor_quota_37"), 0),
        (("--code", "VENDOR_quota_37"), 0),
        (("--code", "vendor_quota_38*"), 3),
        (("--status", "0"), 0),
        (("--status", "404"), 3),
        (("--status", "4xx,5XX"), 0),
        (("--model", "nobody's"), 3),
    ],
)
def test_a_word_that_this_version_or_the_log_knows_is_none(
    flags: tuple[str, ...], status: int, directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert asked.run(capfd, "log", directory, *flags)[0] == status


def test_a_kind_of_a_later_version_is_known_where_the_log_has_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked.write(tmp_path, {"kind": "evaporated"})
    assert asked.listed(capfd, tmp_path, "--kind", "evaporated") == ["st_0000"]


def test_of_many_codes_the_log_names_some(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked.write(tmp_path, *({"kind": "timeout", "code": f"vendor_{n}"} for n in range(20)))
    _, _, complained = asked.run(capfd, "log", tmp_path, "--code", "other")
    assert "vendor_11, …." in complained
    assert "vendor_12" not in complained
