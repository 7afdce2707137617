"""The least that a server between a pipe and a socket can do: what its latency is compared with.

    python -m bench.echo '{"deltas": 100, "interval": 0.005, "stamped": true}'

has a child that writes a chat stream to a pipe as a `bench.standin.Turn` describes it, copies
what comes from the pipe to the client's socket, and prints its address. It decodes nothing, and
serves one client after the other.
"""

import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from bench import pacing, source, standin

REQUEST_BYTES: Final = 1 << 16
"""More than a request has."""


def write_stream(plan: standin.Turn, fd: int) -> None:
    """Write one answer, each chunk when it is due."""
    with os.fdopen(fd, "wb", buffering=0) as pipe:
        answer = source.Answer(plan)
        pipe.write(answer.head())
        schedule: pacing.Schedule[source.Answer] = pacing.Schedule()
        schedule.add(answer, plan.interval)
        while (seconds := schedule.wait()) is not None:
            time.sleep(seconds)
            for due, said in schedule.take():
                pipe.write(said.next_chunks())
                if not said.is_told:
                    schedule.again(said, due, plan.interval)


def serve(listener: socket.socket, plan: standin.Turn) -> None:
    """Answer requests for ever."""
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with client:
            client.recv(REQUEST_BYTES)
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                write_stream(plan, writing)
                os._exit(0)
            os.close(writing)
            while data := os.read(reading, REQUEST_BYTES):
                client.sendall(data)
            os.close(reading)
            os.waitpid(child, 0)


def main(arguments: Sequence[str]) -> None:
    """Serve one plan on a free port."""
    plan = msgspec.json.decode(arguments[0], type=standin.Turn)
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", flush=True)
    serve(listener, plan)


if __name__ == "__main__":
    main(sys.argv[1:])
