"""Runs the page's server on loopback until it is asked to stop."""

import asyncio
from collections.abc import Callable

from server.http import exchange as http
from server.http.listener import HttpServer
from server.process import eventloop, exits, signals
from server.ui import door, site, view

HOST = "127.0.0.1"
"""Where it listens: on no other address is there anybody to show a log to."""

CLOSE_S = 1.0
"""How long answers in hand may take once the server is asked to stop."""

Announce = Callable[[str], None]
"""Told the URL that opens the page."""


def run(log: view.View, port: int, announce: Announce) -> int:
    """Serve the page of a log until a signal asks to stop; its exit status.

    Raises:
        OSError: the address cannot be had.
    """
    with signals.caught() as caught:
        return eventloop.run(_serve(log, port, announce, caught))


async def _serve(log: view.View, port: int, announce: Announce, caught: signals.Caught) -> int:
    stopped = asyncio.Event()
    eventloop.forward(caught, lambda _: stopped.set())
    served: list[site.Site] = []

    async def handle(exchange: http.Exchange) -> None:
        await served[0].handle(exchange)

    server = HttpServer(handle, http.Limits())
    _, bound = await server.bind(HOST, port)
    gate = door.Door(bound)
    served.append(site.Site(log, gate))
    try:
        await server.serve()
        announce(f"http://{HOST}:{bound}/?token={gate.token}")
        await stopped.wait()
        await server.drain(CLOSE_S)
    finally:
        await server.close()
        served[0].close()
    return exits.CLEAN
