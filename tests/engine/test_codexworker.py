"""The tenant of a Codex process, when what it does at the process's end breaks."""

from typing import Any

import pytest

from engine import appserver, codexworker
from engine.channel import Channel, ChannelClosed
from engine.dispatcher import Dispatcher
from tests import virtualtime


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
            "codex-0", options, lambda: None, lambda feed, data: feed(data)
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


class _Options:
    request_timeout = 1.0
