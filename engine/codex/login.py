"""Errands of an app-server that is started for one: log in, log out, say who is logged in."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

import msgspec

from engine.codex.child import home as codexhome, process
from engine.codex.options import Options
from engine.codex.protocol import appserver, notifications
from engine.codex.protocol.channel import Channel, ChannelClosed, RpcError, RpcTimedOut
from engine.codex.turns.dispatcher import Dispatcher

NETWORK_S: Final = 30.0
"""Seconds that Codex may take to ask ChatGPT, as for a code to be entered."""


class LoginFailed(Exception):
    """Raised with Codex's own reason."""


class Link(msgspec.Struct, frozen=True):
    """The place where somebody logs in.

    Attributes:
        code: to be entered there; None where the browser comes back to this machine.
    """

    url: str
    code: str | None = None


class Standing(msgspec.Struct, frozen=True):
    """Codex's word on who is logged in, and on the account.

    Attributes:
        account: None where nobody is logged in.
        quota, usage: None where they were not to be had.
        trouble: why something was not to be had, in Codex's words.
    """

    account: appserver.Account | None
    quota: notifications.RateLimitSnapshot | None = None
    usage: appserver.UsageSummary | None = None
    trouble: str = ""


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

    async def ping(self) -> None:
        """Take it for well: whoever waits for the errand ends it."""

    async def probe(self) -> None:
        """Take it for well: no turn runs here."""

    def lost(self, reason: str) -> None:
        """The process has gone."""
        if not self._completed.done():
            self._completed.set_exception(LoginFailed(f"Codex {reason}"))
            self._completed.exception()  # or asyncio logs it where a login given up is collected

    async def link(self) -> Link:
        """Begin a login in a browser on this machine.

        Raises:
            LoginFailed: Codex offers none.
        """
        begun = await self._ask("account/login/start", appserver.ChatgptLogin())
        return Link(str(begun.auth_url))

    async def device_link(self) -> Link:
        """Begin a login in a browser anywhere.

        Raises:
            LoginFailed: Codex cannot have a code, such as without a network.
        """
        begun = await self._ask("account/login/start", appserver.DeviceLogin())
        return Link(str(begun.verification_url), str(begun.user_code))

    async def log_in(self, api_key: str) -> None:
        """Log in with a key, which Codex keeps and tries on nobody.

        Raises:
            LoginFailed: Codex does not take it.
        """
        await self._ask("account/login/start", appserver.ApiKeyLogin(api_key))
        await self.completed()

    async def log_out(self) -> None:
        """Have the login removed.

        Raises:
            LoginFailed: it could not be.
        """
        await self._ask("account/logout", appserver.Empty())

    async def standing(self) -> Standing:
        """Ask who is logged in, and what is left of the quota.

        Raises:
            LoginFailed: Codex does not run.
        """
        trouble = ""
        try:
            read = await self._ask("account/read", appserver.AccountReadParams())
            account = read.account
        except Refused as refused:  # only of somebody who is logged in must ChatGPT be asked
            account, trouble = appserver.Account(), str(refused)
        if account is None or account.type == "apiKey":
            return Standing(account)
        quota = usage = None
        try:
            quota = (await self._ask("account/rateLimits/read", appserver.Empty())).rate_limits
            usage = (await self._ask("account/usage/read", appserver.Empty())).summary
        except Refused as refused:
            trouble = trouble or str(refused)
        return Standing(account, quota, usage, trouble)

    async def completed(self) -> None:
        """Wait until somebody has logged in.

        Raises:
            LoginFailed: they could not.
        """
        result = await self._completed
        if not result.success:
            raise LoginFailed(result.error or "the login was not completed")

    async def _ask(self, method: str, params: msgspec.Struct) -> Any:
        ready = asyncio.ensure_future(self._ready.wait())
        await asyncio.wait((ready, self._completed), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._completed.done():
            self._completed.result()
        assert self._channel is not None
        try:
            return await self._channel.send(method, params, NETWORK_S).reply
        except (RpcError, RpcTimedOut) as error:
            raise Refused(_reason(error)) from error
        except ChannelClosed as error:
            raise LoginFailed("Codex has ended") from error

    def _received(self, params: Any) -> None:
        if isinstance(params, notifications.LoginCompleted) and not self._completed.done():
            self._completed.set_result(params)


class Refused(LoginFailed):
    """Raised where Codex runs, and says no."""


def _reason(error: RpcError | RpcTimedOut) -> str:
    return error.message if isinstance(error, RpcError) else f"no answer to {error}"


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
        "codex-login",
        command,
        options.limits,
        login,
        functools.partial(process.say, "codex-login"),
    )
    errand.start()
    try:
        yield login
    finally:
        await errand.stop()
