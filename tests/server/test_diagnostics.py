"""What an operator reads on stderr, and what never gets there."""

import json
import logging
import os
import re
import select
import subprocess
import sys
import timeit
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import example, given, strategies as st

from engine import containment
from server import diagnostics
from server.config import settings

ROOT = Path(__file__).parents[2]
Configure = Callable[..., None]


class File:
    """A file that diagnostics go to."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("lines")

    def __del__(self) -> None:
        os.close(self._descriptor)

    def fileno(self) -> int:
        return self._descriptor

    def getvalue(self) -> bytes:
        """All that was written."""
        diagnostics.flush()
        return os.pread(self._descriptor, 1 << 24, 0)


@pytest.fixture
def configure(diagnostics_as_before: None) -> Iterator[Configure]:
    """Sets diagnostics up with some settings and a stream, and takes it all back at the end."""

    def with_settings(stream: Any, **changed: Any) -> None:
        nowhere = Path("/nonexistent")
        config = settings.Config(data_dir=nowhere, log_dir=nowhere, **changed)
        diagnostics.configure(config, stream.fileno())

    yield with_settings
    with_settings(sys.__stderr__)


def lines(stream: File) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def line(stream: File) -> dict[str, Any]:
    (only,) = lines(stream)
    return only


def test_a_line_has_the_schema(configure: Configure) -> None:
    stream = File()
    configure(stream, env="staging")
    log = structlog.get_logger(component="supervisor").bind(worker_state="backoff")
    log.warning("worker exited", delay_ms=500, req_id="req-1", code=None)
    written = line(stream)
    stamp = written.pop("timestamp")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", stamp)
    assert list(written.items()) == [
        ("severity", "warning"),
        ("component", "supervisor"),
        ("event", "worker exited"),
        ("env", "staging"),
        ("req_id", "req-1"),
        ("worker_state", "backoff"),
        ("delay_ms", 500),
        ("code", None),
    ]


def test_only_what_is_known_is_written(configure: Configure) -> None:
    stream = File()
    configure(stream)
    structlog.get_logger().info("listening")
    assert list(line(stream)) == ["timestamp", "severity", "component", "event"]
    assert line(stream)["component"] == "server"


def test_every_severity_and_the_level(configure: Configure) -> None:
    for level, written in [
        ("debug", ["debug", "info", "warning", "error", "critical", "error"]),
        ("warning", ["warning", "error", "critical", "error"]),
    ]:
        stream = File()
        configure(stream, log_level=level)
        log = structlog.get_logger()
        for method in (log.debug, log.info, log.warning, log.error, log.critical, log.exception):
            method("x")
        assert [each["severity"] for each in lines(stream)] == written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Authorization: Bearer abc.def-1", "Authorization: ********"),
        ("authorization=Basic dXNlcjpwdw==", "authorization=********"),
        ("used bearer abc~/+=, then left", "used bearer ********, then left"),
        ("key sk-proj-a1B2c3_d4 refused", "key sk-******** refused"),
        ('{"access_token":"abc","x":1}', '{"access_token":"********","x":1}'),
        (r"{\"api_key\": \"abc\"}", r"{\"api_key\": \"********\"}"),
        ("OPENAI_API_KEY=abc ./run", "OPENAI_API_KEY=******** ./run"),
        ("token eyJhbGciOiJI.eyJzdWIi.c2ln!", "token eyJ********!"),
        ("GET https://me:pw@host/v1", "GET https://********@host/v1"),
        ("the client sent operators-key here", "the client sent ******** here"),
        ("a risk-assessment of 12 tokens", "a risk-assessment of 12 tokens"),
        ("prompt_tokens=12 model=gpt-5.5", "prompt_tokens=12 model=gpt-5.5"),
    ],
)
def test_keys_and_tokens_are_replaced(text: str, written: str, configure: Configure) -> None:
    stream = File()
    configure(stream, api_key="operators-key")
    structlog.get_logger(component=text).info(text, field=text, nested=[{"deep": (text,)}])
    for value in (line(stream)["component"], line(stream)["event"], line(stream)["field"]):
        assert value == written
    assert line(stream)["nested"] == [{"deep": [written]}]


@example("author\u0131zation: abcdef")
@example("author\u0130zation=abcdef")
@given(st.from_regex(diagnostics._SECRET))
def test_no_form_of_a_key_is_without_a_hint(text: str) -> None:
    folded = text.casefold()
    assert any(hint in folded for hint in diagnostics._SECRET_HINTS)


@pytest.mark.parametrize(
    "fields",
    [
        {"detail": "Bearer abc.def-1"},
        {"reasons": ("stop", "Bearer abc.def-1")},
        {"detail": "operators-secret"},
        {"password": "opaque"},
        {"detail": "a\x1b[2J"},
        {"detail": "a" * 16_385},
        {"headers": {"token": "opaque"}},
    ],
)
def test_one_field_to_hide_is_hidden_among_plain_ones(
    fields: dict[str, Any], configure: Configure
) -> None:
    stream = File()
    configure(stream, api_key="operators-secret")
    structlog.get_logger().info("x", status=200, code=None, model="gpt-5.5", **fields)
    written = line(stream)
    assert (written["status"], written["code"], written["model"]) == (200, None, "gpt-5.5")
    (name,) = fields
    assert written[name] != json.loads(json.dumps(fields[name]))
    assert not re.search(r"abc|opaque|operators-secret|\x1b|a{16385}", json.dumps(written[name]))


@pytest.mark.parametrize("name", ["authorization", "Set-Cookie", "x-api-key", "TOKEN"])
def test_secret_fields_are_replaced(name: str, configure: Configure) -> None:
    stream = File()
    configure(stream)
    structlog.get_logger().info("request", headers={name: "opaque", "accept": "*/*"})
    assert line(stream)["headers"] == {name: "********", "accept": "*/*"}


def test_a_traceback_is_one_line_without_keys(configure: Configure) -> None:
    stream = File()
    configure(stream)
    try:
        raise ConnectionError("refused: Bearer abcdef")
    except ConnectionError as error:
        structlog.get_logger().exception("provider failed", error=error)
    written = line(stream)
    assert written["error"] == "ConnectionError('refused: Bearer ********')"
    assert written["exception"].endswith("ConnectionError: refused: Bearer ********")


def test_any_value_can_be_written(configure: Configure) -> None:
    stream = File()
    configure(stream)
    circle: list[object] = []
    circle.append(circle)
    structlog.get_logger().info(
        "odd",
        path=Path("/a"),
        raw=b"\xff",
        half="\ud800",
        huge=2**80,
        nan=float("nan"),
        keys={1: "a", "\udfff": "b"},
        circle=circle,
        escape="\x1b[31mred\x9b0m\ttab\n",
        long="x" * 100_000,
    )
    written = line(stream)
    assert written["path"] == "/a"
    assert written["raw"] == r"b'\xff'"
    assert written["half"] == "?"
    assert written["huge"] == 2**80
    assert written["nan"] is None
    assert written["keys"] == {"1": "a", "?": "b"}
    assert written["escape"] == "\ufffd[31mred\ufffd0m\ttab\n"
    assert written["long"] == "x" * 16_384 + "… (100000 characters)"


class Unshowable:
    """A value whose text is a defect."""

    def __str__(self) -> str:
        raise RuntimeError("planted")


def test_a_value_that_cannot_be_shown_fails_nobody_and_is_counted(configure: Configure) -> None:
    stream = File()
    configure(stream)
    before = containment.counts["unsaid"]
    log = structlog.get_logger(component="codex").bind(worker="codex-0")
    log.info("shown", value=1)
    log.info("not shown", value=Unshowable())
    structlog.get_logger(component="codex").error("not shown either", value=Unshowable())
    assert [each["event"] for each in lines(stream)] == ["shown"]
    assert containment.counts["unsaid"] - before == 2


def test_a_key_at_the_cut_is_not_left_in_part(configure: Configure) -> None:
    stream = File()
    configure(stream, api_key="operators-key")
    structlog.get_logger().info("." * 16_380 + "operators-key" + "." * 50)
    assert line(stream)["event"] == "." * 16_380 + "****… (16443 characters)"


@pytest.mark.parametrize("key", ["k", "info", "stream", "the"])
def test_a_key_that_is_a_word_is_not_cut_out_of_others(key: str, configure: Configure) -> None:
    stream = File()
    configure(stream, api_key=key)
    text = "the king looks into the upstreams of infosec, then streaming"
    structlog.get_logger(component="kernel").info(text, key=key, quoted=f"'{key}', {key}.")
    written = line(stream)
    words = re.sub(rf"\b{key}\b", "********", text)
    assert (written["component"], written["event"]) == ("kernel", words)
    assert (written["key"], written["quoted"]) == ("********", "'********', ********.")


KEYS = (
    "abcdefghijklmnop",
    "abcdefghijklmnop-qrst",
    "a.c+e(g[i{k*m^o$q|s",
    r"back\slash\d\1-key",
    "quote'and\"quote-key",
    "ends-with-symbols+/=",
    "=starts-with-symbols",
    "Bearer-is-in-the-key",
    "sk-proj-a1;b2,c3}d4&e5",
)
"""Keys with characters that expressions, JSON, URLs and headers read in their own way."""

PLACES = (
    "{}",
    "Bearer {}",
    "authorization: Bearer {} was refused",
    "api_key={}",
    "the key '{}', which",
    "({}) [{}] <{}>",
    "https://host/v1?key={}&x=1",
    "x_{}_y",
)
"""How a value stands in a line."""


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_in_no_line(key: str, place: str, configure: Configure) -> None:
    stream = File()
    others = tuple(f"X-Key: {other}" for other in KEYS if other != key)
    configure(stream, api_key=key, upstream_headers=others)
    log = structlog.get_logger(component="codex")
    for form in (key, repr(key)[1:-1], json.dumps(key)[1:-1], urllib.parse.quote(key, safe="")):
        text = place.replace("{}", form)
        log.info(text, nested=[{text: (text,)}], error=RuntimeError(text))
        try:
            raise RuntimeError(text)
        except RuntimeError:
            log.exception("failed")
    written = stream.getvalue().decode()
    diagnosed = written.count("\n")
    for each in lines(stream):
        written += str(each)
    assert diagnosed == 8
    assert key not in written
    assert key[len("abcdefghijklmnop") :] == "" or key[-5:] not in written


def test_the_standard_library_logs_here_too(configure: Configure) -> None:
    stream = File()
    configure(stream)
    configure(stream)
    logger = logging.getLogger("asyncio")
    logger.info("not this")
    logger.warning("slow by %s s", 2)
    logger.critical("lost")
    assert {(each["component"], each["event"]) for each in lines(stream)} == {
        ("library", "library_message")
    }
    assert [(each["library"], each["severity"], each["text"]) for each in lines(stream)] == [
        ("asyncio", "warning", "slow by 2 s"),
        ("asyncio", "error", "lost"),
    ]


def test_a_task_that_fails_unseen_is_a_json_line() -> None:
    program = """
import asyncio, gc, pathlib
from engine import containment
from server import diagnostics
from server.config import settings
here = pathlib.Path(".")
diagnostics.configure(settings.Config(data_dir=here, log_dir=here))

async def fail():
    raise RuntimeError("unseen: Bearer abcdef")

async def main():
    await asyncio.wait([asyncio.create_task(fail())])
    gc.collect()

asyncio.run(main())
diagnostics.flush()
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    written = json.loads(ran.stderr)
    assert (written["component"], written["event"]) == ("library", "library_message")
    assert (written["library"], written["severity"]) == ("asyncio", "error")
    assert "RuntimeError: unseen: Bearer ********" in written["exception"]


def test_lines_that_nobody_reads_cost_nobody_anything_and_are_told_of(
    configure: Configure,
) -> None:
    reading, writing = os.pipe()
    before = diagnostics.lines_dropped()
    with os.fdopen(reading, "rb", 0) as reader, os.fdopen(writing, "wb", 0) as pipe:
        configure(pipe, log_level="error")
        log = structlog.get_logger(component="codex")
        for number in range(2000):
            log.error("unread", number=number, text="x" * 5000)
        numbers: list[int] = []
        gaps: list[dict[str, Any]] = []
        while len(numbers) + sum(gap["lines"] for gap in gaps) < 2000:
            assert select.select((reader,), (), (), 20)[0], "nothing comes"
            read = json.loads(reader.readline())
            if read["event"] == "unread":
                numbers.append(read["number"])
            else:
                gaps.append(read)
    assert numbers == sorted(set(numbers))
    assert sum(gap["lines"] for gap in gaps) == diagnostics.lines_dropped() - before > 0
    assert {(gap["event"], gap["component"], gap["severity"]) for gap in gaps} == {
        ("diagnostics_dropped", "diagnostics", "error")
    }


def test_a_reason_and_a_line_come_in_order(configure: Configure) -> None:
    stream = File()
    configure(stream)
    structlog.get_logger().info("first")
    diagnostics.say("turntape: second")
    structlog.get_logger().info("third")
    first, second, third = stream.getvalue().decode().splitlines()
    assert json.loads(first)["event"] == "first"
    assert second == "turntape: second"
    assert json.loads(third)["event"] == "third"


def read_terminal(configure: Configure, **changed: Any) -> str:
    """What one log call shows on a terminal."""
    leader, follower = os.openpty()
    with os.fdopen(leader, "rb", 0) as screen, os.fdopen(follower, "wb", 0) as terminal:
        configure(terminal, **changed)
        try:
            raise ValueError("Bearer abcdef")
        except ValueError:
            structlog.get_logger(component="codex").exception("worker exited", pid=4)
        diagnostics.flush()
        return screen.read(65536).decode()


def test_a_terminal_is_written_for_reading(configure: Configure) -> None:
    shown = read_terminal(configure)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert plain != shown
    assert "[error" in plain
    assert "worker exited" in plain
    assert "[codex]" in plain
    assert "pid=4" in plain
    assert "ValueError: Bearer ********" in plain


def test_json_on_a_terminal_where_asked(configure: Configure) -> None:
    assert json.loads(read_terminal(configure, log_format="json"))["component"] == "codex"


def test_console_in_a_file_has_no_colours(configure: Configure) -> None:
    stream = File()
    configure(stream, log_format="console")
    structlog.get_logger(component="codex").info("worker ready")
    assert b"worker ready" in stream.getvalue()
    assert b"\x1b" not in stream.getvalue()


def test_a_call_below_the_level_costs_next_to_nothing(configure: Configure) -> None:
    """Measured: 0.05 µs against 9 µs for a written line."""
    configure(File())
    log = structlog.get_logger(component="pump").bind()

    def cost(call: Callable[..., object]) -> float:
        return min(timeit.repeat(lambda: call("x", req_id="r", ms=1), number=500, repeat=15))

    assert cost(log.debug) < cost(log.info) / 20
