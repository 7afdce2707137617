"""The Codex worker and the tenants of its processes, when a part of what they do breaks."""

import sys
from typing import Any

import pytest
import structlog.testing

from engine.codex import worker as codexworker
from engine.codex.protocol import appserver
from engine.codex.protocol.channel import Channel, ChannelClosed
from engine.codex.turns.dispatcher import Dispatcher
from machines import supervisor
from tests.support.machines import virtualtime


def raising(*_: Any, **__: Any) -> Any:
    raise RuntimeError("planted")


@pytest.mark.parametrize(
    ("owner", "part"), [(Channel, "finish_lines"), (Dispatcher, "lost"), (Channel, "close")]
)
def test_a_bug_met_while_a_process_is_lost_stops_no_other_part(
    owner: Any, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        options: Any = _Options()
        server = codexworker.AppServer(
            "codex-0", options, lambda: None, lambda feed, data: feed(data), lambda *_: None
        )
        server.connected(lambda _: None)
        assert server.channel is not None
        call = server.channel.send("turn/start", appserver.ThreadUnsubscribeParams("t"))
        lost: list[str] = []
        monkeypatch.setattr(Dispatcher, "lost", lambda _: lost.append("lost"))
        monkeypatch.setattr(owner, part, raising)
        with pytest.raises(RuntimeError):
            server.lost("exited")
        assert lost == ([] if part == "lost" else ["lost"])
        assert server.channel.closed is (part != "close")
        monkeypatch.undo()
        server.lost("exited")  # it is tried again, and may be
        with pytest.raises(ChannelClosed):
            await call.reply

    virtualtime.run(scene())


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


class _Options:
    setup = _Setup()
    binary = sys.executable
    request_timeout = 1.0
    park_most = 1
    park_ttl = 1.0
