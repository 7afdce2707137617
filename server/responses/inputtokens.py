"""`/v1/responses/input_tokens` and `…/compact`: what is asked of a long conversation."""

from engine import slices
from engine.stream import estimate
from server.api import answering, promptsize
from server.api.call import Call
from server.api.incoming import receive
from server.chat.sse import USAGE_MARK
from server.context import Context
from server.http.errors import ApiError
from server.responses import creation


async def count(context: Context, call: Call) -> None:
    """Answer `POST /v1/responses/input_tokens` with an estimate, which the header says it is.

    It is the measure by which `max_output_tokens` is cut: no worker counts tokens without
    answering.

    Raises:
        ApiError: for everything that is wrong with the request itself.
    """
    incoming = await receive(context, call)
    if incoming is None:
        return
    creating = await creation.read(context, incoming)
    grant = incoming.caller.grant
    _, options = await answering.read_for_first(context, grant, creating.model, creating.read)
    size = await slices.in_slices(promptsize.of_prompt(options))
    call.headers.append((USAGE_MARK, "estimated"))
    call.answer(200, {"object": "response.input_tokens", "input_tokens": estimate.tokens(size)})


async def compact(context: Context, call: Call) -> None:
    """Refuse `POST /v1/responses/compact`: no worker makes an item that its provider can read.

    `docs/responses.md` says what Codex does, and why that is not what is asked for.

    Raises:
        ApiError: always.
    """
    await receive(context, call)
    raise ApiError(
        "unsupported_operation",
        "No worker of this server compacts conversations. Send a shorter input instead.",
    )
