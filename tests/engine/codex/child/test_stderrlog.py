"""Lines of the diagnostics that a child's stderr becomes."""

from typing import Any

import structlog
import uvloop

from engine.codex.child import stderrlog


def lines_of(*pieces: bytes) -> list[dict[str, Any]]:
    """What is logged of stderr that comes in these pieces."""

    async def run() -> None:
        log = stderrlog.StderrLog("child-0")
        for piece in pieces:
            log.feed(piece)

    with structlog.testing.capture_logs() as said:
        uvloop.run(run())
    return [dict(line) for line in said]


def test_stderr_is_logged_with_the_severity_it_names_up_to_a_warning() -> None:
    said = lines_of(
        b'{"level":"ERROR","target":"core","fields":{"message":"no disk"}}\n',
        b'{"level":"DEBUG","target":"core","fields":{"message":"well"}}\nplain\n\n  \n',
    )
    assert [(line["log_level"], line["text"], line["worker"]) for line in said] == [
        ("warning", "core: no disk", "child-0"),
        ("debug", "core: well", "child-0"),
        ("warning", "plain", "child-0"),
    ]


def test_stderr_may_be_cut_anywhere_and_be_no_text() -> None:
    said = lines_of(b"on", b"e\ntw", b"o\n\xff\xfe\n")
    assert [line["text"] for line in said] == ["one", "two", "\ufffd\ufffd"]


def test_an_endless_line_is_logged_by_its_beginning() -> None:
    said = lines_of(b"x" * 5_000, b"y" * 10, b"\n")
    assert said[0]["text"] == "x" * stderrlog.STDERR_LINE_CHARACTERS
    assert len(said) == 2


def test_a_flood_is_counted_and_dropped() -> None:
    count = 5_000
    said = lines_of(b"".join(b"%d\n" % number for number in range(count)))
    shown = [line for line in said if line["event"] == "worker_stderr"]
    assert len(shown) <= 2 * stderrlog.STDERR_LINES_A_SECOND
    assert shown[0]["text"] == "0"
