"""Stands before the routes of a mock: finds the scope of a request, and who answers it.

Below `/scope/NAME` a scope has every route of the server. The key of the operator makes scopes,
changes them and reads their journals, at `/admin/mock/scopes/NAME`; without such a key there are
none but the one of the command line, which has the address itself.
"""

import asyncio
import hmac
import secrets
from pathlib import Path
from typing import Final

import msgspec

from engine import scripted
from machines import parse
from server.api import gates
from server.config.load import is_loopback
from server.config.settings import Config
from server.http import errors, exchange as http
from server.mock import faults, matching, recorder, scopes
from server.mock.library import Recording

SCOPE: Final = "/scope/"
"""Begins the path of every request to a scope."""

ADMIN: Final = "/admin/mock/scopes/"
"""Begins the path of every request about one."""

MISSED: Final = "mock_no_recording"
"""The code of the answer where no recording matches."""

_options: Final = msgspec.json.Decoder(scopes.ScopeOptions)
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Front:
    """Puts requests into their scopes.

    Args:
        config: of the mock.
        worker: plays what is recorded.
        passing: asks the provider; None: there is none.
        own: the options of the command line; None: no request is matched there.
    """

    def __init__(
        self,
        config: Config,
        worker: scripted.ScriptedWorker,
        passing: recorder.Recorder | None,
        own: scopes.ScopeOptions | None,
        fault: faults.Fault | None,
    ) -> None:
        self._config = config
        self._worker = worker
        self._passing = passing
        self._own_options = own
        self._fault = fault
        self._scopes: dict[str, scopes.Scope] = {}
        self._handler: http.Handler
        self._own: scopes.Scope | None = None
        self._faults: faults.Injector

    def before(self, handler: http.Handler) -> http.Handler:
        """Stand before a handler."""
        self._handler = handler
        self._faults = faults.Injector(handler, self._fault)
        if self._own_options is not None:
            self._own = self._scope("", self._own_options)
        return self.handle

    async def handle(self, exchange: http.Exchange) -> None:
        """Answer one exchange.

        Raises:
            errors.ApiError: there is no such scope, or no recording.
        """
        request = exchange.request
        if request.path.startswith(ADMIN) and self._config.admin_key is not None:
            await self._administer(exchange, self._config.admin_key)
            return
        if not request.path.startswith(SCOPE):
            if self._own is None:
                await self._faults.handle(exchange)
            else:
                await self._answer(self._own, exchange)
            return
        name, slash, rest = request.path.removeprefix(SCOPE).partition("/")
        scope = self._scopes.get(name)
        if scope is None:
            raise errors.ApiError(
                "not_found", f"There is no scope {name[:100]!r}: its test is over."
            )
        request.path = slash + rest
        await self._answer(scope, exchange)

    def _scope(self, name: str, options: scopes.ScopeOptions) -> scopes.Scope:
        return scopes.Scope(name, options, self._worker, self._handler)

    async def _administer(self, exchange: http.Exchange, key: str) -> None:
        """Make, change, show or end a scope."""
        request = exchange.request
        if not hmac.compare_digest(gates.bearer(request).encode(), key.encode()):
            raise errors.ApiError("invalid_api_key", gates.INCORRECT)
        name = request.path.removeprefix(ADMIN)
        if request.method == "PUT":
            self._put(name, _read(await request.body()))
        scope = self._scopes.get(name)
        if scope is None:
            raise errors.ApiError("not_found", f"There is no scope {name[:100]!r}.")
        await scope.settled()
        if request.method == "DELETE":
            await scope.close()
            del self._scopes[name]
        body = msgspec.json.encode(scope.journal)
        exchange.respond(200, [("content-type", "application/json")], body)

    def _put(self, name: str, options: scopes.ScopeOptions) -> None:
        if options.on_miss is not scopes.OnMiss.FAIL and self._passing is None:
            problem = (
                f"there is no provider to {options.on_miss.value} from: the mock has no --upstream"
            )
            raise errors.ApiError("invalid_request", problem, "on_miss")
        if options.transcript and options.transcript not in self._worker.models():
            problem = f"there is no transcript {options.transcript!r}"
            raise errors.ApiError("invalid_request", problem, "transcript")
        try:
            if name in self._scopes:
                self._scopes[name].change(options)
            else:
                self._scopes[name] = self._scope(name, options)
        except (scripted.TranscriptError, faults.FaultRefused, OSError) as error:
            raise errors.ApiError("invalid_request", str(error)) from None

    async def _answer(self, scope: scopes.Scope, exchange: http.Exchange) -> None:
        entry = scope.note(exchange)
        request = exchange.request
        try:
            asked = await self._asked(exchange, entry)
            if not self._is_admitted(request):
                await self._handler(exchange)
            elif asked is None:
                await scope.answer(exchange)
            elif (recording := scope.choose(asked)) is not None:
                entry.outcome, entry.recording = scopes.Outcome.RECORDING, recording.name
                request.headers.put("x-turntape-transcript", scope.script_of(recording))
                await scope.answer(exchange)
            elif scope.options.transcript:
                entry.outcome, entry.recording = scopes.Outcome.RECORDING, scope.options.transcript
                request.headers.put("x-turntape-transcript", scope.options.transcript)
                await scope.answer(exchange)
            else:
                await self._miss(scope, exchange, asked, entry)
        except errors.ApiError as error:
            entry.status = error.status
            raise
        entry.status = entry.status or exchange.status

    async def _asked(self, exchange: http.Exchange, entry: scopes.Entry) -> matching.Asked | None:
        """The request as it can be matched; None for what only the routes have an answer to."""
        request = exchange.request
        endpoint = matching.ENDPOINTS.get(request.path)
        if request.method != "POST" or endpoint is None:
            return None
        try:
            members = parse.parse_outer(await request.body(), _members)
        except parse.ParseError:
            return None
        entry.body = msgspec.Raw(await request.body())
        if request.headers.get("x-turntape-transcript") is not None:
            return None
        return matching.Asked(endpoint, members)

    def _is_admitted(self, request: http.Request) -> bool:
        """Whether the routes would answer this client: a stranger learns of no recordings."""
        key = self._config.api_key
        if key is None:
            host = request.headers.get("host")
            return host is None or is_loopback(gates.host_name(host))
        return hmac.compare_digest(gates.bearer(request).encode(), key.encode())

    async def _miss(
        self,
        scope: scopes.Scope,
        exchange: http.Exchange,
        asked: matching.Asked,
        entry: scopes.Entry,
    ) -> None:
        passing = self._passing
        if scope.options.on_miss is scopes.OnMiss.FAIL or passing is None:
            entry.outcome = scopes.Outcome.MISSED
            text = scope.library.miss(asked, scope.options.match)
            scope.journal.misses.append(text)
            raise errors.ApiError(MISSED, text, status=404, should_retry=False)
        entry.outcome = scopes.Outcome.UPSTREAM
        headers = exchange.request.headers
        if gates.REQUEST_ID.fullmatch(headers.get("x-request-id") or "") is None:
            headers.put("x-request-id", f"req_{secrets.token_hex(12)}")
        answered = asyncio.Event()

        async def ask(asking: http.Exchange) -> None:
            if scope.options.on_miss is scopes.OnMiss.RECORD:
                task = asyncio.create_task(self._record(scope, asking, answered))
                scope.pending.add(task)
                task.add_done_callback(scope.pending.discard)
            try:
                await passing.answer(asking)
            finally:
                answered.set()

        await scope.pass_on(exchange, ask)

    async def _record(
        self, scope: scopes.Scope, exchange: http.Exchange, answered: asyncio.Event
    ) -> None:
        """Keep an answer once it has ended; why it cannot be kept is a note for the test.

        Args:
            answered: set once the provider has said all: a fault may end a client's answer before.
        """
        assert self._passing is not None
        await exchange.finished()
        await answered.wait()
        request = exchange.request
        directory = Path(scope.options.record_to or scope.options.transcripts[0])
        request_id = request.headers.get("x-request-id") or ""
        try:
            path = await self._passing.record(request_id, gates.bearer(request), directory)
            recording = Recording(f"{directory.name}/{path.stem}", scripted.load_file(path))
        except (recorder.NotRecorded, scripted.TranscriptError, OSError) as error:
            scope.journal.notes.append(f"{request.path} was not recorded: {error}")
            return
        scope.add(recording)
        scope.journal.recorded.append(str(path))


def _read(body: bytes) -> scopes.ScopeOptions:
    """The options in the body of a request.

    Raises:
        errors.ApiError: it has none, or others.
    """
    try:
        return _options.decode(body)
    except msgspec.DecodeError as error:
        raise errors.ApiError("invalid_request", str(error)) from None
