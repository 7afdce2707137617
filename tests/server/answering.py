"""One request to a whole server in this process, whose worker says what it is told to."""

import asyncio
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from engine import slices, worker, workerkinds
from engine.log import event_log as eventlog
from engine.log.settings import LogSettings
from engine.stream import wakeups
from machines import events, lifecycle
from server import context, router, serve
from server.config import load as configuration
from server.http import exchange as http, listener
from server.responses.kept import runs
from tests.support.client import chatwire, httpclient
from tests.support.logs import logs

END = (events.TokensCounted(events.Usage(11, 5)), events.TurnFinished("stop"))
"""What a worker says last."""


class Playing:
    """A turn of `Player`."""

    def cancel(self) -> None:
        """Everything was said at once."""

    def pause(self) -> None:
        """Everything was said at once."""

    def resume(self) -> None:
        """Everything was said at once."""

    def keep(self) -> None:
        """Nothing waits."""


class Player:
    """A worker that says the same in every turn, and keeps the turns."""

    kind = workerkinds.CODEX
    accepts: worker.AnyModel | worker.ListedModels = worker.ListedModels("gpt-5.5")

    def __init__(self, said: tuple[events.StreamInput, ...]) -> None:
        self.turns: list[worker.Turn] = []
        self._said = said

    async def start(self) -> None:
        """It is always ready."""

    async def stop(self) -> None:
        """It holds nothing."""

    def health(self) -> worker.Health:
        """Ready."""
        return worker.Health(True, "ready")

    def versions(self) -> dict[str, str]:
        """None."""
        return {}

    def models(self) -> tuple[str, ...]:
        """The default model."""
        return ("gpt-5.5",)

    def describe(self, model: str) -> worker.ModelCard:
        """Nothing."""
        return worker.ModelCard()

    def check(self, turn: worker.Turn) -> slices.Steps[worker.Runner]:
        """Nothing is refused."""
        yield
        return self

    def run(self, turn: worker.Turn, feed: worker.Feed) -> Playing:
        """Say it all when the request is through."""
        self.turns.append(turn)
        asyncio.get_running_loop().call_soon(self._say, turn, feed)
        return Playing()

    def _say(self, turn: worker.Turn, feed: worker.Feed) -> None:
        for event in self._said:
            if turn.choice and hasattr(event, "choice"):
                event = msgspec.structs.replace(event, choice=turn.choice)
            feed.event(event)


class Answer(NamedTuple):
    """What a request got, the turn the worker got, and the stream's first record."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    turn: worker.Turn | None
    first: dict[str, Any]

    @property
    def choice(self) -> dict[str, Any]:
        """The one choice of a body."""
        (choice,) = json.loads(self.body)["choices"]
        assert isinstance(choice, dict)
        return choice

    @property
    def deltas(self) -> list[dict[str, Any]]:
        """What the frames of a stream add between role and finish."""
        frames = [frame for frame in chatwire.frames(self.body) if "done" not in frame]
        return [frame["choices"][0]["delta"] for frame in frames][1:-1]


def ask(
    fields: dict[str, Any],
    *said: events.StreamInput,
    headers: dict[str, str] | None = None,
    path: str = "/v1/chat/completions",
    environ: dict[str, str] | None = None,
    player: Player | None = None,
) -> Answer:
    """One request to a server whose worker says what it is told to, unless one is given."""
    player = player or Player(said or (events.TextDelta("Hi"), *END))
    with tempfile.TemporaryDirectory() as directory:
        asking = _ask(Path(directory), fields, player, headers or {}, path, environ or {})
        return asyncio.run(asking)


def settings(data_dir: Path, environ: dict[str, str]) -> configuration.Config:
    loaded, warnings = configuration.load({"PROXY_DATA_DIR": str(data_dir), **environ})
    assert warnings == []
    return loaded


async def _ask(
    data_dir: Path,
    fields: dict[str, Any],
    player: Player,
    headers: dict[str, str],
    path: str,
    environ: dict[str, str],
) -> Answer:
    loaded = settings(data_dir, environ)
    event_log = eventlog.EventLog(LogSettings(loaded.log_dir, "full"), serve.wall_clock())
    event_log.open()
    joined = wakeups.Wakeups(asyncio.get_running_loop(), event_log)
    life = lifecycle.Lifecycle(1000)
    life.step(lifecycle.Started())
    fleet = context.fleet(loaded, {"codex": player})
    running = context.Context(
        loaded, fleet, event_log, joined, life, b"k" * 16, time.time, runs.Runs()
    )
    server = listener.HttpServer(router.Router(running).handle, http.Limits())
    host, port = await server.start("127.0.0.1", 0)
    body = {"model": "codex-5", "messages": [{"role": "user", "content": "Hello"}], **fields}
    url = f"http://{host}:{port}"
    response = await asyncio.to_thread(httpclient.ask, url, "POST", path, body, headers)
    await server.close()
    event_log.close()
    records = [json.loads(line) for line in logs.lines_of(loaded.log_dir)]
    turn = player.turns[0] if player.turns else None
    first = records[0] if records else {}
    return Answer(response.status, response.headers, response.body, turn, first)
