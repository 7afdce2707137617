"""The server with a window: `python -m tests.faults.observed serve …`, for tests that count.

It is the command line as it is, and two things more. On SIGUSR1 it says on stderr which tasks its
loop has. And limits that no setting reaches are taken from the environment, so that a test need
not wait for half a minute.
"""

import asyncio
import functools
import importlib
import json
import os
import signal
import sys
from types import FrameType
from typing import Any, Final

import msgspec

from engine import upstreamclient
from machines import jsonrpc
from server import assembly, cli, http, settings

TASKS: Final = "tasks"
"""The event of a line that lists tasks."""

HTTP_LIMITS: Final = "FAULTS_HTTP_LIMITS"
"""The variable for members of `server.http.Limits`, a JSON object."""

CONNECT_TIMEOUT: Final = "FAULTS_CONNECT_TIMEOUT_S"
"""The variable for how long the connection to an upstream may take."""

LINE_BYTES: Final = "FAULTS_LINE_BYTES"
"""The variable for how long a line of a worker's process may be."""

CONSTANTS: Final = "FAULTS_CONSTANTS"
"""The variable for constants, a JSON object: `{"engine.ending.STEP_GRACE_S": 0.5}`."""


def main() -> int:
    """Run the command line."""
    signal.signal(signal.SIGUSR1, _say_tasks)
    for name, value in json.loads(os.environ.get(CONSTANTS, "{}")).items():
        module, _, constant = name.rpartition(".")
        _replace(importlib.import_module(module), constant, value)
    _replace(assembly, "http_limits", _http_limits)
    timeout = float(os.environ.get(CONNECT_TIMEOUT, 5))
    options = functools.partial(upstreamclient.Options, connect_timeout=timeout)
    _replace(upstreamclient, "Options", options)
    most = int(os.environ.get(LINE_BYTES, jsonrpc.MAX_LINE_BYTES))
    _replace(jsonrpc, "LineSplitter", functools.partial(jsonrpc.LineSplitter, max_bytes=most))
    return cli.main()


def _replace(module: Any, name: str, value: object) -> None:
    setattr(module, name, value)


def _http_limits(config: settings.Config, usual: Any = assembly.http_limits) -> http.Limits:
    members = json.loads(os.environ.get(HTTP_LIMITS, "{}"))
    limits: http.Limits = msgspec.structs.replace(usual(config), **members)
    return limits


def _say_tasks(_number: int, _frame: FrameType | None) -> None:
    """Straight to the descriptor: a handler may have interrupted a write to the stream."""
    coroutines = [task.get_coro() for task in asyncio.all_tasks()]
    names = [getattr(each, "__qualname__", str(each)) for each in coroutines]
    line = {"event": TASKS, "severity": "info", "names": names}
    os.write(2, json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
