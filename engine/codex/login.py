"""Logs the server's own Codex home in with ChatGPT: a link to open, then the wait for it."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from engine.codex.child import home as codexhome, process
from engine.codex.protocol import appserver, notifications
from engine.codex.protocol.channel import Channel, ChannelClosed, RpcError, RpcTimedOut
from engine.codex.turns.dispatcher import Dispatcher
from engine.codex.worker import Options, say


class LoginFailed(Exception):
    """Raised with Codex's own reason."""


class Login:
    """The one errand of an app-server that is started for it: a `process.Tenant`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._channel: Channel | None = None
        self._ready = asyncio.Event()
        self._completed: asyncio.Future[notifications.LoginCompleted]
        self._completed = asyncio.get_running_loop().create_future()

    def connected(self, write: Callable[[bytes], None]) -> None:
        """The process runs."""
        routes = Dispatcher(self._received)
        self._channel = Channel(write, routes, self._options.request_timeout)

    async def handshake(self) -> str:
        """Introduce ourselves."""
        assert self._channel is not None
        params = appserver.introduction(self._options.client_version)
        try:
            result = await self._channel.send("initialize", params).reply
        except (RpcError, RpcTimedOut, ChannelClosed) as error:
            raise process.HandshakeRefused(str(error)) from error
        return str(result.user_agent)

    def received(self, data: bytes) -> None:
        """Output of the process."""
        assert self._channel is not None
        self._channel.feed(data)

    def ready(self) -> None:
        """The errand may begin."""
        self._ready.set()

    def lost(self, reason: str) -> None:
        """The process has gone."""
        if not self._completed.done():
            self._completed.set_exception(LoginFailed(f"Codex {reason}"))
            self._completed.exception()  # or asyncio logs it where a login given up is collected

    async def link(self) -> str:
        """The URL to open in a browser on this machine.

        Raises:
            LoginFailed: Codex offers none.
        """
        ready = asyncio.ensure_future(self._ready.wait())
        await asyncio.wait((ready, self._completed), return_when=asyncio.FIRST_COMPLETED)
        if self._completed.done():
            self._completed.result()
        assert self._channel is not None
        try:
            begun = await self._channel.send("account/login/start", appserver.ChatgptLogin()).reply
        except (RpcError, RpcTimedOut, ChannelClosed) as error:
            raise LoginFailed(str(error)) from error
        return str(begun.auth_url)

    async def completed(self) -> None:
        """Wait until somebody has logged in.

        Raises:
            LoginFailed: they could not.
        """
        result = await self._completed
        if not result.success:
            raise LoginFailed(result.error or "the login was not completed")

    def _received(self, params: Any) -> None:
        if isinstance(params, notifications.LoginCompleted) and not self._completed.done():
            self._completed.set_result(params)


@contextlib.asynccontextmanager
async def running(options: Options, environ: Mapping[str, str]) -> AsyncIterator[Login]:
    """A Codex process on the home of `options`, for a login; it has ended when the block has.

    Only what is done within the block is to be cancelled: who cancels the end leaves a process.

    Raises:
        BinaryNotFound: there is no Codex.
    """
    setup = options.setup
    codexhome.prepare(setup)
    command = process.Command(
        codexhome.command(codexhome.find_binary(options.binary), setup),
        codexhome.environment(setup, environ),
        str(setup.cwd),
    )
    login = Login(options)
    errand = process.Process(
        "codex-login", command, options.limits, login, functools.partial(say, "codex-login")
    )
    errand.start()
    try:
        yield login
    finally:
        await errand.stop()
