"""The server we are compared with: starlette and httpx, passing a chat stream on event by event.

    python -m bench.relay http://127.0.0.1:PORT/v1

runs it under uvicorn with uvloop and h11, and prints its address. It is what one writes first:
no log, no state, no parsing of what it passes on.
"""

import socket
import sys
from collections.abc import AsyncIterator, Sequence

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route


def application(source: str) -> Starlette:
    """A relay of the chat endpoint at `source`."""
    client = httpx.AsyncClient(
        timeout=None, limits=httpx.Limits(max_connections=None, max_keepalive_connections=None)
    )

    async def complete(request: Request) -> StreamingResponse:
        body = await request.body()

        async def passed_on() -> AsyncIterator[bytes]:
            url = f"{source}/chat/completions"
            async with client.stream("POST", url, content=body) as response:
                async for line in response.aiter_lines():
                    if line:
                        yield f"{line}\n\n".encode()

        return StreamingResponse(passed_on(), media_type="text/event-stream")

    return Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])


def main(arguments: Sequence[str]) -> None:
    """Relay one source on a free port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", flush=True)
    config = uvicorn.Config(
        application(arguments[0]), loop="uvloop", http="h11", access_log=False, log_level="warning"
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1:])
