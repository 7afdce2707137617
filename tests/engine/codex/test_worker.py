"""The Codex worker, when a part of what it does breaks."""

import sys
from typing import Any

import structlog.testing

from engine import redaction
from engine.codex import loginlink, worker as codexworker
from machines import supervisor
from tests.support.machines import virtualtime


def raising(*_: Any, **__: Any) -> Any:
    raise RuntimeError("planted")


def test_a_change_that_the_event_log_cannot_take_is_in_the_diagnostics() -> None:
    async def scene() -> None:
        options: Any = _Options()
        worker = codexworker.CodexWorker(
            options, {}, raising, lambda feed, data: feed(data), lambda *_: None
        )
        worker._changed("codex-0", "backoff", supervisor.Exited(1))

    with structlog.testing.capture_logs() as lines:
        virtualtime.run(scene())
    broken, change = lines
    assert (broken["event"], broken["worker"]) == ("defect", "codex-0")
    assert (change["event"], change["worker"]) == ("worker_state", "codex-0")
    assert (change["worker_state"], change["trigger"]) == ("backoff", "exited")


class _Setup:
    model = "m"
    has_key = True


class _Options:
    setup = _Setup()
    binary = sys.executable
    request_timeout = 1.0
    park_most = 1
    park_ttl = 1.0
    reuse_most = 1
    reuse_ttl = 1.0
    forks = False
    login_link = loginlink.Offer()
    known = redaction.NONE
