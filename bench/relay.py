"""The server we are compared with: starlette and httpx, passing a chat stream on event by event.

    python -m bench.relay http://127.0.0.1:PORT/v1 chunks

runs it under uvicorn with uvloop and h11, and prints its address. It is what one writes first: no
log, no state. With `chunks` it does the work that we do: it decodes what comes and says it in a
chunk of its own. With `lines` it looks at nothing.
"""

import json
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route


def chunk(line: str) -> str:
    """An event with its JSON decoded and encoded."""
    data = line.removeprefix("data: ")
    if data == "[DONE]":
        return f"{line}\n\n"
    return f"data: {json.dumps(json.loads(data))}\n\n"


def unchanged(line: str) -> str:
    """The same event."""
    return f"{line}\n\n"


WORK: Final[dict[str, Callable[[str], str]]] = {"chunks": chunk, "lines": unchanged}
"""The ways to handle an event."""


def application(source: str, work: Callable[[str], str]) -> Starlette:
    """A relay of the chat endpoint at `source`."""
    client = httpx.AsyncClient(
        timeout=None, limits=httpx.Limits(max_connections=None, max_keepalive_connections=None)
    )

    async def complete(request: Request) -> StreamingResponse:
        body = await request.body()

        async def passed_on() -> AsyncIterator[str]:
            url = f"{source}/chat/completions"
            async with client.stream("POST", url, content=body) as response:
                async for line in response.aiter_lines():
                    if line:
                        yield work(line)

        return StreamingResponse(passed_on(), media_type="text/event-stream")

    return Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])


def main(arguments: Sequence[str]) -> None:
    """Relay one source on a free port."""
    source, work = arguments
    app = application(source, WORK[work])
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", flush=True)
    config = uvicorn.Config(app, loop="uvloop", http="h11", access_log=False, log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1:])
