"""The diagnostics on a terminal of 100 columns, and in a file that is to be read like one."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from server import console, diagnostics
from server.config import settings

ACCESS: dict[str, Any] = {
    "req_id": "req_2f060ec98e9f039b1c548828",
    "method": "POST",
    "route": "/v1/chat/completions",
    "status": 200,
    "kind": "completed",
    "stream": "st_b3f9d1654e40de5a06fc5525",
    "model": "text-short",
    "finish_reasons": ("stop", None),
    "ttft_ms": None,
    "bytes": 601,
    "client": "127.0.0.1",
}
"""A line of the access log, with a choice and a time that are not known."""


class Shown:
    """What an operator sees on the terminal that diagnostics were set up for."""

    def __init__(self, screen: int) -> None:
        self._screen = screen

    def rows(self) -> list[str]:
        """The rows so far, without their colours."""
        diagnostics.flush()
        shown = os.read(self._screen, 1 << 16).decode()
        return re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()


@pytest.fixture
def shown(tmp_path: Path, diagnostics_as_before: None) -> Iterator[Shown]:
    """A terminal with the diagnostics on it."""
    screen, terminal = os.openpty()
    config = settings.Config(data_dir=tmp_path, log_dir=tmp_path)
    diagnostics.configure(config, terminal)
    yield Shown(screen)
    diagnostics.configure(config)
    os.close(terminal)
    os.close(screen)


def test_a_line_fits(shown: Shown) -> None:
    structlog.get_logger(component="access").info("request_ended", **ACCESS)
    rows = shown.rows()
    assert all(len(row) <= console.COLUMNS == 100 for row in rows)
    assert all(row.startswith("    ") for row in rows[1:])
    first, *_ = rows
    assert re.match(
        r"\d\d:\d\d:\d\d\.\d{3}Z \[info +\] request_ended \[access\] method=POST ", first
    )


def test_nothing_is_lost_but_what_has_no_value(shown: Shown) -> None:
    structlog.get_logger(component="access").info("request_ended", **ACCESS)
    text = " ".join(row.strip() for row in shown.rows())
    assert "None" not in text
    assert "ttft_ms" not in text
    assert text.endswith(
        "method=POST route=/v1/chat/completions status=200 kind=completed"
        " stream=st_b3f9d1654e40de5a06fc5525 model=text-short finish_reasons=stop,- bytes=601"
        " client=127.0.0.1 req_id=req_2f060ec98e9f039b1c548828"
    )


def test_words_of_a_long_text_are_folded(shown: Shown) -> None:
    said = "the provider was asked again and again " * 8
    structlog.get_logger(component="codex").error("turn_failed", detail=said)
    rows = shown.rows()
    assert len(rows) >= 4
    assert all(len(row) <= 100 for row in rows)
    assert " ".join(said.split()) in " ".join(row.strip() for row in rows)


def test_a_word_without_an_end_stays_whole(shown: Shown) -> None:
    path = "/var/lib/" + "turntape" * 20
    structlog.get_logger(component="server").info("listening", log_dir=path, port=8000)
    assert [row for row in shown.rows() if path in row] == [f"    log_dir={path}"]


def test_a_value_makes_no_row_of_its_own(shown: Shown) -> None:
    """A client's text must not look like a line of the server."""
    forged = "x\n08:26:21.164Z [info     ] stopped [server]"
    structlog.get_logger(component="access").info("request_ended", model=forged)
    assert not [row for row in shown.rows() if row.startswith("08:26:21.164Z")]


def test_a_traceback_is_shown_as_python_wrote_it(shown: Shown) -> None:
    try:
        raise ValueError("a b " * 60)
    except ValueError:
        structlog.get_logger(component="server").exception("defect")
    rows = shown.rows()
    assert "Traceback (most recent call last):" in rows
    assert f"ValueError: {'a b ' * 60}" in rows
