"""An operator's decisions about the Codex worker."""

import functools

import msgspec

from engine import redaction, worker
from engine.codex import loginlink
from engine.codex.child import home as codexhome
from engine.codex.protocol import appserver
from engine.codex.request import tools
from machines import supervisor


class Options(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """An operator's decisions about the worker.

    Attributes:
        binary: `CODEX_BIN`, None to look for it.
        request_timeout: seconds a reply may take.
        handshake_timeout: seconds the reply to `initialize` may take.
        park_most: turns that may wait for a client's results at once.
        park_ttl: seconds they wait.
        reuse_most: threads that may stay loaded for later requests at once.
        reuse_ttl: seconds they stay.
        forks: whether the new threads of a conversation may be forks of one source.
        login_link: where clients are told to log in.
        known: the server's own secrets, which a process may repeat.
    """

    setup: codexhome.Setup
    binary: str | None
    api_key: str | None
    processes: int
    turns_per_process: int
    request_timeout: float
    handshake_timeout: float
    limits: supervisor.Limits
    sandbox: str
    approval_policy: str
    client_version: str
    park_most: int
    park_ttl: float
    reuse_most: int = 0
    reuse_ttl: float = 0
    forks: bool = False
    login_link: loginlink.Offer = loginlink.Offer()
    known: redaction.Redaction = redaction.NONE

    @functools.cached_property
    def cwd(self) -> str:
        """The directory of every thread, as Codex is told it."""
        return str(self.setup.cwd)

    def thread(
        self, turn: worker.Turn, toolset: tools.Toolset | None
    ) -> appserver.ThreadStartParams:
        """A new thread for a turn with these functions."""
        told = {"model_verbosity": turn.verbosity, "web_search": turn.web_search}
        return msgspec.structs.replace(
            self.new_thread(turn.target),
            dynamic_tools=toolset.dynamic_tools if toolset is not None else (),
            experimental_raw_events=toolset is not None or turn.needs_raw_items,
            config={name: value for name, value in told.items() if value is not None},
        )

    def new_thread(self, model: str) -> appserver.ThreadStartParams:
        """A new thread without functions."""
        return appserver.ThreadStartParams(
            model=model,
            cwd=self.cwd,
            sandbox=self.sandbox,
            approval_policy=self.approval_policy,
        )
