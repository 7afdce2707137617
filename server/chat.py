"""`POST /v1/chat/completions`: from a body to an answer."""

from typing import Final

from server import answering, asked, passedon
from server.context import Context
from server.gates import Caller, Headers, check_life
from server.http import Exchange

API: Final = answering.Api("chat.completions", "chatcmpl-", "messages")
"""What sets its answers apart."""


async def complete(context: Context, exchange: Exchange, caller: Caller, headers: Headers) -> None:
    """Answer one chat completion request.

    Args:
        headers: of every answer to this request.

    Raises:
        ApiError: for everything that is wrong with the request itself.
    """
    body = await exchange.request.body()
    check_life(context)  # which may have changed while the body came
    read = passedon.read if context.worker.name == "upstream" else asked.read
    wanted = read(body, exchange.request.headers, context.config)
    ask = answering.Ask(exchange, caller, headers, body)
    await answering.answer(context, ask, wanted, API)
