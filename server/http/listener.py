"""The listening side of the server: accepts connections, drains them, closes them."""

import asyncio
import time
from collections.abc import Callable

import structlog

from engine import containment
from server.http import connection, exchange as http

STREAM_LIMIT = 32 * 1024
"""The limit of a stream reader: its transport stops reading at twice as many bytes."""

BACKLOG = 2048
"""Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`."""

log = structlog.get_logger(component="http")


class HttpServer:
    """Serves one handler on one address.

    Args:
        clock: seconds since the epoch, for the `date` header.
        refuse: answers what goes wrong before or outside the handler.
    """

    def __init__(
        self,
        handler: http.Handler,
        limits: http.Limits,
        clock: Callable[[], float] = time.time,
        refuse: http.Refuse = http.refuse,
    ) -> None:
        self._limits = limits
        self._site = connection.Site(handler, limits, refuse, http.DateHeader(clock))
        self._listener: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], connection.Connection] = {}

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    @property
    def websockets(self) -> int:
        """The number of those that have become WebSockets."""
        return sum(each.is_switched for each in self._connections.values())

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Bind and serve at once; return the address and port as `bind` does."""
        bound = await self.bind(host, port)
        await self.serve()
        return bound

    async def bind(self, host: str, port: int) -> tuple[str, int]:
        """Take an address, where connections are refused until `serve`; port 0 takes a free one.

        Returns:
            The address and port that were bound.

        Raises:
            OSError: the address cannot be bound.
        """
        self._listener = await asyncio.start_server(
            self._accept, host, port, limit=STREAM_LIMIT, backlog=BACKLOG, start_serving=False
        )
        bound = self._listener.sockets[0].getsockname()
        return bound[0], bound[1]

    async def serve(self) -> None:
        """Accept connections.

        Raises:
            OSError: another process listens at the address since.
        """
        assert self._listener is not None, "bind() comes first"
        await self._listener.start_serving()

    def stop_accepting(self) -> None:
        """Refuse new connections; those that are open go on."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def drain(self, deadline: float) -> int:
        """Let every connection finish the answer in hand.

        Returns:
            How many connections were still open after `deadline` seconds.
        """
        self.stop_accepting()
        shutdown = containment.Boundary.SHUTDOWN
        containment.each(shutdown, connection.Connection.drain, self._open())
        if self._connections:
            await asyncio.wait(set(self._connections), timeout=deadline)
        return self.connections

    async def close(self) -> None:
        """Cut whatever is open and wait for its end."""
        self.stop_accepting()
        tasks = set(self._connections)
        shutdown = containment.Boundary.SHUTDOWN
        containment.each(shutdown, connection.Connection.abort, self._open())
        if tasks:
            await asyncio.wait(tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._listener is None:
            writer.transport.abort()
            return
        if len(self._connections) >= self._limits.max_connections:
            log.warning("connections_full", limit=self._limits.max_connections)
            writer.transport.abort()
            return
        try:
            accepted = connection.Connection(reader, writer, self._site)
        except Exception as error:
            containment.report(containment.Boundary.CONNECTION, error)
            writer.transport.abort()
            return
        self._connections[accepted.task] = accepted
        accepted.task.add_done_callback(self._forget)

    def _open(self) -> list[connection.Connection]:
        return list(self._connections.values())

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._connections[task]
