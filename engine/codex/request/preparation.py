"""A request as Codex is sent it: made once, in slices, for all its turns and their attempts."""

import asyncio

import msgspec

from engine import slices, worker
from engine.codex.protocol import appserver
from engine.codex.request import conversation, history, tools, toolschema
from machines import errors
from machines.wire import jsonrpc


def check(turn: worker.Turn) -> slices.Steps[None]:
    """Refuse a request that Codex cannot take.

    Raises:
        TurnRefused: as `conversation.check` does; for a schema that is too large to be read, or
            one that no line can hold.
    """
    yield from conversation.check(turn.messages)
    _check_schemas(turn)


class Prepared(msgspec.Struct, frozen=True, eq=False):
    """The parts of a turn's thread.

    Attributes:
        toolset: None where there are no functions.
        items: the conversation.
        keeps: whether a later request may go on with the thread.
    """

    toolset: tools.Toolset | None
    items: tuple[msgspec.Raw, ...]
    keeps: bool = False


class Preparation:
    """Makes the parts of a request's threads, once, when the first turn needs them.

    A turn that is resumed has its thread and needs nothing. So this is not done while the request
    is checked.

    Args:
        turn: any of the request's turns, which `check` has let pass.
        recall: of the caller's key.
        keeps: whether later requests may go on with the threads.
    """

    def __init__(
        self, turn: worker.Turn, recall: conversation.Recall, keeps: bool = False
    ) -> None:
        self._turn = turn
        self._recall = recall
        self._keeps = keeps
        self._made: Prepared | None = None
        self._history: history.History | None = None
        self._making = asyncio.Lock()

    async def get(self) -> Prepared:
        """Wait for it; a turn that is cancelled while it makes it leaves that to the next one."""
        async with self._making:
            if self._made is None:
                made = await slices.in_slices(prepare(self._turn, self._recall))
                self._made = msgspec.structs.replace(made, keeps=self._keeps)
            return self._made

    async def digests(self) -> history.History | None:
        """Wait for the conversation's digests; None where no later request goes on with it."""
        async with self._making:
            if self._history is None and self._keeps:
                self._history = await slices.in_slices(history.read(self._turn))
            return self._history

    async def behind(self, goal: history.Goal) -> tuple[msgspec.Raw, ...]:
        """Make what a thread that has come to this point has not seen."""
        unseen = self._turn.messages[goal.count :]
        return await slices.in_slices(conversation.items(unseen))


def prepare(turn: worker.Turn, recall: conversation.Recall) -> slices.Steps[Prepared]:
    """Make the parts of the thread of a turn that `check` has let pass."""
    toolset = tools.Toolset(turn.tools) if turn.tools else None
    if toolset is not None:
        yield from toolset.describe()
    # A name in the history is the same whether its function is still declared or not.
    alias = (toolset or tools.Toolset(())).alias
    items = yield from conversation.items(turn.messages, alias, recall)
    return Prepared(toolset, items)


def _check_schemas(turn: worker.Turn) -> None:
    for tool in turn.tools:
        if tool.parameters is not None:
            _check_size(tool.parameters, f"The schema of '{tool.name[:64]}'", "tools")
    if turn.output_schema is not None:
        where = "response_format.json_schema.schema"
        _check_size(turn.output_schema, "The schema", where)
        _check_depth(turn.output_schema, where)


def _check_size(schema: msgspec.Raw, what: str, where: str) -> None:
    size = memoryview(schema).nbytes
    if size > toolschema.MAX_BYTES:
        message = f"{what} is too large: {size} bytes, of {toolschema.MAX_BYTES} at most."
        raise worker.TurnRefused("invalid_request", message, where)


def _check_depth(schema: msgspec.Raw, where: str) -> None:
    params = appserver.TurnStartParams(thread_id="", output_schema=schema)
    try:
        jsonrpc.encode_request(0, "turn/start", params)
    except errors.TooLarge as error:
        raise worker.TurnRefused("invalid_request", f"The schema is {error}.", where) from None
