"""One app-server process: who it is, whether it answers, and the seats on it for turns."""

import asyncio
import contextlib
import functools
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog

from engine import containment, failures, rpcfigures, worker
from engine.codex import loginfile, loginstate, sharedlogin
from engine.codex.child import home as codexhome, pings, process, traces
from engine.codex.options import Options
from engine.codex.protocol import appserver, notifications
from engine.codex.protocol.channel import Channel, ChannelClosed, RpcError, RpcTimedOut
from engine.codex.turns.dispatcher import Dispatcher
from engine.codex.turns.thread import Seat
from engine.containment import Boundary
from machines import events, supervisor

_log = structlog.get_logger(component="codex")


NO_ACCOUNT: Final = appserver.Account("")
"""In place of an account where nobody is logged in."""

KINDS: Final = {
    NO_ACCOUNT.type: loginfile.Kind.NONE,
    "apiKey": loginfile.Kind.API_KEY,
    "chatgpt": loginfile.Kind.CHATGPT,
}
"""The kinds of login by their names in the protocol."""

RENEWED: Final = "renewed"
"""In place of the mark of a login that was no good, and whose file has been written since."""

Record = Callable[[str, events.LateChange], None]
"""Keeps what happened to a thread of a process, by the process's name."""

Life = Callable[[str], str]
"""Returns the id of the life of a process in the event log, by the process's name."""


def no_life(_: str) -> str:
    """Return the id where lives are not recorded: none."""
    return ""


class AppServer:
    """One app-server process, and the turns on it: tenant of an `engine.codex.child` process."""

    def __init__(
        self,
        name: str,
        options: Options,
        on_free: Callable[[], None],
        read: worker.Read,
        record: Record,
        rpc: rpcfigures.RpcFigures,
        shared: sharedlogin.SharedLogin,
        life: Life = no_life,
    ) -> None:
        self.name = name
        self._rpc = rpc
        self.models: tuple[str, ...] = ()
        self.version = ""
        self.login = loginstate.LoginState(asyncio.get_running_loop().time)
        self.taken = 0
        self.process: process.Process | None = None
        self.channel: Channel | None = None
        self._options = options
        self._on_free = on_free
        self._read = read
        self._record = functools.partial(record, name)
        self._life = functools.partial(life, name)
        self._routes = Dispatcher(self._not_of_a_turn)
        self._account_updated = asyncio.Event()
        self._shared = shared
        self._needs_login = False
        self._login_mark: str | None = None
        self._differs = False
        self._reading: asyncio.Task[None] | None = None

    def connected(self, write: Callable[[bytes], None]) -> None:
        """A process runs: everything begins anew."""
        self._routes = Dispatcher(self._not_of_a_turn)
        self._account_updated.clear()
        self._login_mark = self._shared.on_file.mark
        self._differs = False
        self.taken = 0
        self.channel = Channel(
            write,
            self._routes,
            self._options.request_timeout,
            self._rpc,
        )

    async def handshake(self) -> str:
        """Introduce ourselves, check the version, log in, learn the models."""
        assert self.channel is not None
        try:
            return await self._introduce(self.channel)
        except (RpcError, RpcTimedOut, ChannelClosed, ValueError) as error:
            raise process.HandshakeRefused(
                failures.safe(str(error), self._options.known)
            ) from error

    def received(self, data: bytes) -> None:
        """Output of the process: where a token enters."""
        assert self.channel is not None
        self._read(self.channel.feed, data)

    def ready(self) -> None:
        """Turns may begin."""
        self._on_free()

    async def ping(self) -> None:
        """Ask for the process's own figures, which it can give at any time."""
        await self._answered("server/diagnostics", appserver.Empty())
        self._say_if_empty()

    async def probe(self) -> None:
        """Have the process begin a thread, and end it."""
        params = self._options.new_thread(self.models[0])
        started = await self._answered("thread/start", params)
        if started is not None and self.channel is not None:
            end = appserver.ThreadUnsubscribeParams(started.thread.id)
            self.channel.send("thread/unsubscribe", end).unawaited()

    async def _answered(self, method: str, params: msgspec.Struct) -> Any:
        """Make a request until it is answered; None where the answer is a refusal."""
        assert self.channel is not None
        while True:
            with contextlib.suppress(RpcTimedOut):
                try:
                    return await self.channel.send(method, params, pings.LIMIT_S).reply
                except RpcError:
                    return None

    def lost(self, reason: str) -> None:
        """Every turn of this process is over; safe to repeat."""
        turns = len(self._routes.turns)
        state = self.health().state
        _log.warning(
            "worker_lost", worker=self.name, worker_state=state, reason=reason, turns=turns
        )
        with contextlib.ExitStack() as parts:  # one that fails stops no other
            if self.channel is not None:
                parts.callback(self.channel.close)
            parts.callback(self._routes.lost)
            if self.channel is not None:
                parts.callback(self.channel.finish_lines)

    def health(self) -> worker.ProcessHealth:
        """The state that it is in: `logged_out` where it takes turns and has no good login."""
        state = self.process.state if self.process is not None else supervisor.STOPPED
        if state in supervisor.TAKING and not self.login.is_good:
            state = "logged_out"
        restarts = self.process.restarts if self.process is not None else 0
        return worker.ProcessHealth(self.name, state, self.version, self.taken, restarts)

    def free_seats(self) -> int:
        """Turns that could begin now."""
        if self.process is None or self.process.state not in supervisor.TAKING:
            return 0
        return self._options.turns_per_process - self.taken

    def seat(self) -> Seat:
        """Take one of the free seats."""
        assert self.channel is not None
        assert self.process is not None
        self.taken += 1
        channel = self.channel

        places = [channel]

        def leave() -> None:
            # Else it has been left, or the process has been replaced, and its count with it.
            if places and places.pop() is self.channel:
                self.taken -= 1
                containment.each(Boundary.CALLBACK, AppServer._freed, (self,))

        def again() -> Seat | None:
            return self.seat() if self.channel is channel and self.free_seats() > 0 else None

        return Seat(
            channel,
            self._routes,
            self._options.thread,
            leave,
            again,
            functools.partial(self._suspect, channel),
            self._record,
            self.login,
            self._shared,
            self._life(),
            self.version == appserver.SCHEMA_PIN,
        )

    def reach(self, is_logged_in: bool) -> Channel | None:
        """Return the channel to the process, if it is well and its login as is asked."""
        if self.process is None or self.process.state not in supervisor.TAKING:
            return None
        return self.channel if self.login.is_good is is_logged_in else None

    def login_on_file(self, found: loginfile.Login, written: bool) -> None:
        """Have the process replaced where another login lies in its home than it has read.

        Its own login, at the link that it gave, is on file a moment before it says so: another
        one counts from the second look on. None counts at once.
        """
        process = self.process
        if process is None or process.state not in supervisor.TAKING or not self._needs_login:
            return
        if self._login_mark is None:
            self._login_mark = found.mark
        elif written and not self.login.is_good:
            self._login_mark = RENEWED
        is_gone = found.kind is loginfile.Kind.NONE
        before, self._differs = self._differs, found.mark != self._login_mark
        if not self._differs or not (before or is_gone):
            return
        if is_gone:
            self.login.found(False)
        process.outdated("its login was changed")
        self._say_if_empty()

    def _suspect(self, channel: Channel, reason: str) -> None:
        if channel is self.channel and self.process is not None:
            self.process.suspect(reason)
            self._say_if_empty()

    def _freed(self) -> None:
        self._say_if_empty()
        self._on_free()

    def _say_if_empty(self) -> None:
        # A turn that waits for results has no seat, and would be lost.
        if self.process is not None and not (self.taken or self._routes.turns):
            self.process.emptied()

    async def _introduce(self, channel: Channel) -> str:
        params = appserver.introduction(self._options.client_version)
        timeout = self._options.handshake_timeout
        result = await channel.send("initialize", params, timeout).reply
        version = appserver.version_of(result.user_agent)
        self.version = ".".join(map(str, version))
        if version < appserver.MINIMUM_VERSION:
            oldest = ".".join(map(str, appserver.MINIMUM_VERSION))
            raise process.HandshakeRefused(f"codex {self.version} is older than {oldest}")
        if version > appserver.TESTED_VERSION:
            _log.warning(
                "codex_newer_than_tested",
                version=self.version,
                tested=appserver.SCHEMA_PIN,
                advice="the tested one comes with turntape[codex]; docs/codex.md has what differs",
            )
        channel.notify("initialized")
        await self._log_in(channel)
        listed = await channel.send("model/list", appserver.ModelListParams()).reply
        self.models = tuple(model.model for model in listed.data)
        if not self.models:
            raise process.HandshakeRefused("codex lists no models")
        await self._stop_traces()
        return self.version

    async def _stop_traces(self) -> None:
        """Have Codex's traces dropped. A process that goes on writing them is as good as any."""
        try:
            await traces.stop(self._options.setup.sqlite_dir)
        except Exception as error:
            containment.report(Boundary.PROCESS, error, worker=self.name)

    async def _log_in(self, channel: Channel) -> None:
        if self._options.api_key is not None:
            await channel.send(
                "account/login/start", appserver.ApiKeyLogin(self._options.api_key)
            ).reply
            # A thread that is started before this notification has come is refused.
            await self._account_updated.wait()
        await self._read_account(channel)
        if not self.login.is_there:
            advice = codexhome.login_advice(self._options.setup)
            _log.warning(
                "codex_logged_out", worker=self.name, worker_state="logged_out", advice=advice
            )
            await self._shared.link.begin(channel)

    async def _read_account(self, channel: Channel) -> None:
        """Ask who is logged in.

        With a ChatGPT login Codex asks ChatGPT where the account is, which may fail; turns may go
        well all the same. Without one it asks nobody: so who cannot be read is there.
        """
        try:
            read = await channel.send("account/read", appserver.AccountReadParams()).reply
        except (RpcError, RpcTimedOut) as error:
            detail = failures.safe(str(error), self._options.known)
            _log.warning("codex_account_unread", worker=self.name, detail=detail)
            self._needs_login = True
            self.login.found(True)
            self._shared.account.found(self._shared.on_file.kind)
            return
        self._needs_login = read.requires_openai_auth
        self.login.found(read.account is not None or not read.requires_openai_auth)
        account = read.account or NO_ACCOUNT
        kind = KINDS.get(account.type, loginfile.Kind.OTHER)
        self._shared.account.found(kind, account.plan_type)

    async def _read_again(self, channel: Channel) -> None:
        """Ask who has logged in, while the process runs."""
        with contextlib.suppress(ChannelClosed):
            await self._read_account(channel)

    def _account_changed(self, auth_mode: str | None) -> None:
        """Take Codex's word that the login has changed, by a request of ours."""
        self._account_updated.set()
        channel = self.channel
        if auth_mode is None or channel is None:
            self.login.found(False)
        elif self.login.is_there:
            self.login.accepted()
        else:
            self.login.found(True)
            self._login_mark = None  # it has put into the home what lies there
            read = functools.partial(self._read_again, channel)
            work = containment.keep_running("read_account", read)
            self._reading = asyncio.get_running_loop().create_task(work)

    def _not_of_a_turn(self, params: Any) -> None:
        match params:
            case notifications.AccountUpdated(auth_mode):
                self._account_changed(auth_mode)
            case notifications.LoginCompleted():
                self._shared.link.ended(self.channel)
            case notifications.RateLimitsUpdated(rate_limits):
                self._shared.quota_told(rate_limits)
            case notifications.ConfigWarning(summary, details):
                _log.warning("codex_config_warning", summary=summary, details=details)
