"""A provider's answers, and recordings of them.

Whatever no recording answers goes to a second server in this process, with the provider behind it.
Its event log has every answer whole; one that ended well is copied from there into a file of its
own. A file never holds a key: one that would is not written.
"""

import asyncio
import contextlib
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from engine import redaction, scripted
from engine.log.format import sealed
from engine.log.read import segments
from machines import events
from server import serve
from server.config.settings import Config
from server.http import exchange as http

ENDED_S: Final = 5.0
"""How long the last record of an answer may take behind its last byte."""

LOOK_S: Final = 0.01
"""Between two looks for it."""

OWN_FAULT: Final = frozenset({400, 404, 409, 413, 415, 422})
"""Statuses of refusals that depend on the request alone: the only errors that are recorded. A
missing key, a limit or an outage would be played for ever."""

_PLACE: Final = re.compile(rb'(\{"stream":"[^"\\]*","seq":\d+,"seg":)\d+')


class NotRecorded(Exception):
    """Raised for an answer that cannot be a recording; its text says why."""


class Recorder:
    """The second server.

    Args:
        config: with the provider as its worker, and a full log in a directory of its own.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._known = redaction.Redaction(config.secrets())
        self._seen: set[str] = set()
        self._handler: http.Handler | None = None
        self._running: asyncio.Task[None] | None = None
        self._server: serve.Server | None = None

    async def start(self, environ: Mapping[str, str]) -> None:
        """Start it; returns once it answers.

        Raises:
            ExtraMissing: the upstream worker is not installed.
            OSError: it cannot listen.
        """
        begun = asyncio.Event()
        self._server = serve.Server(
            self._config, environ, lambda *_: begun.set(), front=self._take_handler
        )
        self._running = asyncio.create_task(self._server.run())
        waiting = asyncio.create_task(begun.wait())
        await asyncio.wait({self._running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not begun.is_set():
            waiting.cancel()
            self._running.result()

    async def stop(self) -> None:
        """Stop it, if it runs."""
        if self._server is not None and self._running is not None:
            self._server.stop()
            await asyncio.wait({self._running})

    def _take_handler(self, handler: http.Handler) -> http.Handler:
        self._handler = handler
        return handler

    async def answer(self, exchange: http.Exchange) -> None:
        """Have the provider answer."""
        assert self._handler is not None
        await self._handler(exchange)

    async def record(self, request_id: str, sent: str, directory: Path) -> Path:
        """Write the answer to a request into a file of its own.

        Args:
            request_id: the `x-request-id` with which it was answered.
            sent: the client's key, which no file may hold.

        Raises:
            NotRecorded: it did not end well, or a key is in it.
            OSError: the file cannot be written.
        """
        lines, terminal = await self._whole(request_id)
        refusal = terminal.kind == "upstream_error" and terminal.status in OWN_FAULT
        if terminal.kind not in ("completed", "empty") and not refusal:
            why = terminal.code or terminal.cause or terminal.status
            raise NotRecorded(f"the answer ended as {terminal.kind} ({why})")
        data = b"".join(_renumbered(lines))
        if self._known.may_be_in(data) or (
            len(sent) >= redaction.SHORTEST and sent.encode() in data
        ):
            raise NotRecorded("a key stands in the request or in the answer")
        return await asyncio.to_thread(_write, data, directory)

    async def _whole(self, request_id: str) -> tuple[list[bytes], events.Terminal]:
        """The records of the stream of a request that is not recorded yet."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ENDED_S
        while True:
            found = await asyncio.to_thread(_streams_of, self._config.log_dir, request_id)
            for stream, records in found.items():
                last = records[-1].load()
                if isinstance(last, events.Terminal) and stream not in self._seen:
                    self._seen.add(stream)
                    return [record.raw for record in records], last
            if loop.time() > deadline:
                raise NotRecorded("it was refused before anybody was asked")
            await asyncio.sleep(LOOK_S)


def _streams_of(directory: Path, request_id: str) -> dict[str, list[segments.Record]]:
    found: dict[str, list[segments.Record]] = {}
    for record in segments.read(directory):
        if record.event == "opened":
            opened = record.load()
            if isinstance(opened, events.Opened) and opened.request_id == request_id:
                found[record.stream] = []
        if record.stream in found:
            found[record.stream].append(record)
    return found


def _renumbered(lines: list[bytes]) -> list[bytes]:
    """Records as the only ones of a file, with the checksums that belong to their new places."""
    found = []
    for number, line in enumerate(lines):
        body = _PLACE.sub(rb"\g<1>%d" % number, line[: -sealed.SEAL_BYTES], count=1)
        found.append(sealed.seal(body))
    return found


def _write(data: bytes, directory: Path) -> Path:
    """Write a file under the next free number, whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    number = 1
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".recording-") as file:
        file.write(data)
        file.flush()
        while True:
            path = directory / f"{number:02}.jsonl"
            with contextlib.suppress(FileExistsError):
                os.link(file.name, path)
                path.chmod(0o644)  # it is to be committed with the tests
                scripted.load_file(path)
                return path
            number += 1
