"""Has many conversations go on in threads of the real Codex, and looks whether anything grows.

    python -m bench.conversations [--conversations 1000] [--requests 5]

The model is a provider on loopback. Conversations are asked round by round, and there are more of
them than threads are kept: each question after the first finds its thread evicted. A tenth of them
is asked on at once, and finds it. Told are the memory of the server and of its Codex, the bytes
under the data directory without the log, and the time of an answer, by tenths of the run.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from prometheus_client import parser as expositions

from bench import sampling
from tests.support.client import httpclient
from tests.support.process import serving
from tests.support.providers.provider import Provider

TENTHS: Final = 10
"""Parts of a run that are told."""

AT_ONCE: Final = 10
"""One conversation of so many is asked on at once."""


class Part(msgspec.Struct, frozen=True):
    """A tenth of a run.

    Attributes:
        server, codex: resident memory in KiB.
        disk: bytes under the data directory, without the log.
        answer_ms: median time of an answer.
    """

    server: int
    codex: int
    disk: int
    answer_ms: float


def plan(conversations: int, requests: int) -> Iterator[int]:
    """Yield which conversation is asked next."""
    for _ in range(requests):
        for number in range(conversations):
            yield number
            if number % AT_ONCE == 0:
                yield number


def children(pid: int) -> list[int]:
    """Return the processes that a process has begun."""
    found = subprocess.run(("pgrep", "-P", f"{pid}"), capture_output=True, text=True, check=False)
    return [int(each) for each in found.stdout.split()]


def used(directory: Path) -> int:
    """Return the bytes of a directory's files, without those of the log."""
    files = (each for each in directory.rglob("*") if each.is_file())
    return sum(each.stat().st_size for each in files if "log" not in each.parts)


def ask(server: serving.Serve, messages: list[Any]) -> float:
    """Ask the next question of a conversation; the milliseconds that it took."""
    messages.append({"role": "user", "content": f"question {len(messages)} of {id(messages)}"})
    body = {"model": "gpt-5.5", "messages": messages}
    began = time.monotonic()
    reply = httpclient.ask(server.url, "POST", "/chat/completions", body)
    took = time.monotonic() - began
    assert reply.status == 200, reply
    content = json.loads(reply.body)["choices"][0]["message"]["content"]
    messages.append({"role": "assistant", "content": content})
    return took * 1000


def run(conversations: int, requests: int) -> tuple[list[Part], dict[str, float]]:
    """Carry a run out: its tenths, and what became of its threads."""
    asked = list(plan(conversations, requests))
    talks: list[list[Any]] = [[] for _ in range(conversations)]
    parts: list[Part] = []
    with Provider() as provider, serving.codex(provider.url, PROXY_EVENT_LOG="masked") as server:
        size = max(1, len(asked) // TENTHS)
        for start in range(0, len(asked), size):
            took = [ask(server, talks[number]) for number in asked[start : start + size]]
            provider.requests.clear()  # they hold every prompt
            its = children(server.process.pid)
            memory = [sampling.sample(pid).rss_kib for pid in (server.process.pid, *its)]
            disk = used(server.data_dir)
            parts.append(Part(memory[0], sum(memory[1:]), disk, statistics.median(took)))
            print(parts[-1], flush=True)
        metrics = httpclient.ask(server.base, "GET", "/metrics").body.decode()
    (counted,) = (
        family
        for family in expositions.text_string_to_metric_families(metrics)
        if family.name == "turntape_worker_reuse"
    )
    return parts, {each.labels["event"]: each.value for each in counted.samples}


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.conversations")
    parser.add_argument("--conversations", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=5, help="of each (5)")
    options = parser.parse_args(arguments)
    parts, counts = run(options.conversations, options.requests)
    print("| tenth | server, MiB | Codex, MiB | disk, KiB | answer, ms |")
    for number, part in enumerate(parts, start=1):
        memory = f"{part.server / 1024:.1f} | {part.codex / 1024:.1f}"
        print(f"| {number} | {memory} | {part.disk / 1024:.0f} | {part.answer_ms:.1f} |")
    print(counts)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
