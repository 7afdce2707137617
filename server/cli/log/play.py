"""`turntape play`: the bytes that a client got, at the speed at which it got them.

They go to standard output, or to whoever asks a port of this machine: any client of the API that
is pointed at the URL gets the same bytes at the same times.
"""

import argparse
import asyncio
import hmac
import secrets
import sys
import time
from typing import Final

from engine import regular
from server.api import gates
from server.cli import parser as parsers, printing
from server.cli.log import commands, selecting
from server.cli.log.formats import answer as answers
from server.config import load as configuration
from server.http import errors, exchange as http, listener
from server.process import eventloop, exits, signals

HOST: Final = "127.0.0.1"
"""Where it is served: what was said is for nobody else."""

MASKED: Final = (
    "the log is masked: the client's own bytes cannot be had",
    "Played is the same answer with its texts masked, at the same times.",
)
"""The sentences before a stream of a masked log."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("id", metavar="ID", help="a stream, by any of its names")
    commands.add_path(parser)
    parser.add_argument(
        "--speed",
        type=parsers.taking("a number of times, 0 or more", _speed),
        default=1.0,
        metavar="X",
        help="times the recorded speed; 0: without pauses (1)",
    )
    parser.add_argument(
        "--port",
        type=parsers.whole(0, parsers.PORT_MOST),
        metavar="N",
        help="serve it on this port of 127.0.0.1, to whoever knows the URL; 0: any free one",
    )


def _speed(text: str) -> float:
    speed = float(text)
    if not 0 <= speed < float("inf"):
        raise ValueError
    return speed


def run(options: argparse.Namespace) -> int:
    """`turntape play ID [--log PATH] [--speed X] [--port N]`."""
    try:
        found = answers.answer(selecting.read(commands.path_of(options.log), options.id))
    except regular.NotRegular as error:
        printing.complain(f"{error.filename}: corrupt: {error.strerror}")
        return exits.USAGE
    except answers.NoAnswer as error:
        printing.complain(f"{options.id}: {error}")
        return exits.NOT_FOUND
    if found.masked:
        printing.complain(*MASKED)
    if found.problem:
        printing.complain(found.problem)
    if options.port is None:
        _print(found, options.speed)
    else:
        with signals.caught() as caught:
            eventloop.run(_serve(found, options.speed, options.port, caught))
    return exits.USAGE if found.problem else exits.CLEAN


def _print(found: answers.Answer, speed: float) -> None:
    began = time.monotonic()
    for piece in found.pieces:
        time.sleep(_wait(piece, speed, time.monotonic() - began))
        sys.stdout.buffer.write(piece.data)
        sys.stdout.buffer.flush()


def _wait(piece: answers.Piece, speed: float, passed: float) -> float:
    """Seconds until a piece is due."""
    return max(0.0, piece.at_us / 1e6 / speed - passed) if speed else 0.0


async def _serve(found: answers.Answer, speed: float, port: int, caught: signals.Caught) -> None:
    """Serve an answer until it is stopped."""
    stopped = asyncio.Event()
    eventloop.forward(caught, lambda _: stopped.set())
    site = Site(found, speed)
    server = listener.HttpServer(site.handle, http.Limits())
    host, bound = await server.start(HOST, port)
    printing.say(f"play on http://{host}:{bound}/{site.token}/v1", "Ctrl-C stops it.")
    await stopped.wait()
    await server.close()


class Site:
    """Answers every request under its token with one recorded answer.

    Attributes:
        token: the first part of every path that is answered; nobody else knows it.
    """

    def __init__(self, found: answers.Answer, speed: float) -> None:
        self.token = secrets.token_urlsafe(24)
        self._found = found
        self._speed = speed

    async def handle(self, exchange: http.Exchange) -> None:
        """Answer one request.

        Raises:
            ApiError: it is for another host, or does not know the token.
        """
        self._check(exchange.request)
        found = self._found
        loop = asyncio.get_running_loop()
        began = loop.time()
        if not found.chunked and found.whole:
            if found.pieces:
                await asyncio.sleep(_wait(found.pieces[-1], self._speed, loop.time() - began))
            exchange.respond(found.status, found.headers, found.body)
            return
        for piece in found.pieces:
            await asyncio.sleep(_wait(piece, self._speed, loop.time() - began))
            if exchange.status is None:
                exchange.start(found.status or 200, found.headers)
            exchange.write(piece.data)
            if exchange.stage not in http.OPEN_STAGES:
                return
        if found.whole:
            exchange.finish()
        else:
            exchange.abort()

    def _check(self, request: http.Request) -> None:
        host = request.headers.get("host")
        if host is not None and not configuration.is_loopback(gates.host_name(host)):
            raise errors.ApiError("host_not_allowed", "Only loopback hosts are served.")
        given = request.path.lstrip("/").partition("/")[0]
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            raise errors.ApiError("not_found", "There is nothing here.")
