"""No answer depends on the interpreter's state: what was nested at any depth replays anywhere.

Invariant: a log replays with 0 in another process, whatever recursion limit that began with. What
is nested too deep was so when it was written, and is so for ever.
"""

import asyncio
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import pytest

from engine.log import event_log as eventlog
from engine.log.settings import LogSettings
from engine.stream import wakeups
from machines import events, lifecycle, parse
from server import context, router, serve
from server.http import exchange as http, listener
from server.responses.kept import runs
from tests.server import answering
from tests.support.client import httpclient
from tests.support.logs import logs
from tests.support.process import machinetime

DEPTHS: Final = (
    *range(parse.MAX_DEPTH - 6, parse.MAX_DEPTH + 6),
    *(240, 500, 940, 960, 980, 995, 1005, 4000),
)
"""Around the limit, around two stacks, and where the interpreter's own limit used to decide."""

ENDPOINTS: Final = ("/v1/chat/completions", "/v1/responses")

MODES: Final = ("openai-json", "obsidian-xml")

LIMITS: Final = (250, 50_000)
"""Recursion limits that a process may begin with."""

REPLAY: Final = """
import sys
from server.cli import command_line as cli
sys.setrecursionlimit(int(sys.argv[1]))
sys.exit(cli.main(["replay", sys.argv[2]]))
"""


def nested(depth: int, *, objects: bool) -> str:
    """JSON of so many levels."""
    return '{"a":' * depth + "1" + "}" * depth if objects else "[" * depth + "1" + "]" * depth


def said(depth: int, number: int) -> tuple[events.StreamInput, ...]:
    """What a worker says: a block, or a whole call, or one in fragments."""
    value = nested(depth - 1, objects=number % 2 == 0)
    arguments = f'{{"x":{value}}}'
    block = f"Hm. <use_tool><name>a</name><x>{value}</x></use_tool> Well."
    half = len(arguments) // 2
    calls: tuple[tuple[events.StreamInput, ...], ...] = (
        (events.TextDelta(block[:30]), events.TextDelta(block[30:])),
        (
            events.TextDelta("Hm."),
            events.ToolCalled("call_1", "a", arguments),
            events.ToolCalled("call_2", "a", arguments.replace(":", ": ", 1)),
        ),
        (
            events.ToolCallDelta(0, "call_1", "a", arguments[:half]),
            events.ToolCallDelta(0, None, None, arguments[half:]),
        ),
    )
    return (*calls[number % 3], *answering.END)


def request(endpoint: str, depth: int, number: int) -> dict[str, Any]:
    """A body that is nested as deep, or as deep as it may be: else it is refused."""
    within = min(depth, parse.MAX_DEPTH) - 1
    parameters = {"type": "object", "properties": {"x": {}}}
    tool: dict[str, Any] = {"name": "a", "parameters": parameters}
    body = {
        "model": "codex-5",
        "stream": number % 2 == 0,
        "unheard_of": json.loads(nested(within, objects=number % 3 == 0)),
    }
    if endpoint.endswith("responses"):
        return {**body, "input": "Hi", "tools": [{"type": "function", **tool}]}
    return {
        **body,
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"type": "function", "function": tool}],
    }


async def write(directory: Path, content: Any) -> int:
    """The log of a server that was asked for all of this; how many streams are in it."""
    loaded = answering.settings(directory, {})
    event_log = eventlog.EventLog(LogSettings(directory, content, "none"), serve.wall_clock())
    event_log.open()
    joined = wakeups.Wakeups(asyncio.get_running_loop(), event_log)
    life = lifecycle.Lifecycle(1000)
    life.step(lifecycle.Started())
    player = answering.Player(())
    fleet = context.fleet(loaded, {"codex": player})
    running = context.Context(
        loaded, fleet, event_log, joined, life, b"k" * 16, time.time, runs.Runs()
    )
    server = listener.HttpServer(router.Router(running).handle, http.Limits())
    host, port = await server.start("127.0.0.1", 0)
    asked = 0
    url = f"http://{host}:{port}"
    for depth, endpoint, mode in itertools.product(DEPTHS, ENDPOINTS, MODES):
        player._said = said(depth, asked)
        body = request(endpoint, depth, asked)
        headers = {"x-proxy-output-mode": mode}
        response = await asyncio.to_thread(httpclient.ask, url, "POST", endpoint, body, headers)
        assert response.status == 200, response
        asked += 1
    await server.close()
    event_log.close()
    return asked


@pytest.mark.parametrize("content", ["full", "masked"])
def test_a_log_of_any_depth_replays_in_any_process(tmp_path: Path, content: str) -> None:
    asked = asyncio.run(write(tmp_path, content))
    assert len(logs.streams_of(tmp_path)) == asked == len(DEPTHS) * 4
    assert max(map(levels, logs.lines_of(tmp_path))) > parse.MAX_DEPTH
    for limit in LIMITS:
        done = subprocess.run(
            (sys.executable, "-c", REPLAY, str(limit), str(tmp_path)),
            env=logs.child_environment(),
            capture_output=True,
            text=True,
            timeout=machinetime.HANG_S,
        )
        assert done.returncode == 0, done.stdout
        whole = asked if content == "full" else 0
        assert f"; {whole} with the same bytes, {asked - whole} masked" in done.stdout


def levels(line: bytes) -> int:
    """How deep a record is nested, at most."""
    return next(depth for depth in range(200) if not parse.is_deeper(line, depth))
