"""What an event log, a store and a server do on a full and on a read-only disk.

`in_namespace` runs one of the trials here as a program, where it may mount a disk of its own.
"""

import asyncio
import contextlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.log import event_log as eventlog
from engine.log.write import compressor
from engine.store import sqlite as sqlitestore, store as responsestore
from tests.engine.store import store_contract
from tests.server import plain
from tests.support.client import responsesclient
from tests.support.logs import coldlogs, logs
from tests.support.process import machinetime, serving
from tests.support.providers import upstreams
from tests.support.providers.scripted import Gate

SIZE = 128 << 10
"""Bytes of the disk."""

FILLER = 64 << 10
"""Of which so many are taken by somebody else at first."""

LARGE = "x" * 100_000
"""Instructions that make a response take room."""

TOLD_S = 5.0
"""How soon a server says that its log cannot be written, and that it can be again."""

STORE_SIZE = 4 << 20
"""Bytes of the disk of a store, half of them taken at first."""


def in_namespace(*arguments: str | Path) -> dict[str, Any]:
    """Run a trial by its name and arguments; what it saw."""
    command = (shutil.which("unshare") or "false", "--map-root-user", "--mount", "--")
    if subprocess.run((*command, "true"), check=False, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    child = subprocess.run(
        (*command, sys.executable, "-m", "tests.support.logs.fulldisk", *arguments),
        cwd=logs.ROOT,
        env=logs.child_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    seen: dict[str, Any] = msgspec.json.decode(child.stdout.splitlines()[-1])
    return seen


def _mount(options: str, directory: Path) -> None:
    subprocess.run(("mount", "-t", "tmpfs", "-o", options, "none", directory), check=True)


def _remount(option: str, directory: Path) -> None:
    # With the source named, `mount` does not add the options that the mount has, such as the uid
    # of a user who is nobody in this namespace.
    subprocess.run(("mount", "-o", f"remount,{option}", "none", directory), check=True)


def full_disk(disk: Path, on_error: str) -> dict[str, Any]:
    """Streams on a disk that fills up, and has room again later."""
    _mount(f"size={SIZE}", disk)
    filler = disk / "filler"
    filler.write_bytes(b"x" * FILLER)
    clock = logs.Clock()
    event_log = logs.open_log(disk / "log", clock, on_error=on_error, content="full")
    stream = logs.begin(event_log, "s")
    written = 0
    while not event_log.counts.failures:
        stream.append(*logs.content(f"{written} {'x' * (written % 700)}"))
        event_log.flush()
        written += 1
    seen: dict[str, Any] = {"accepting_when_full": event_log.accepting}
    for _ in range(5):
        clock.advance(2)
        stream.append(*logs.content(f"{written}"))
        event_log.flush()
        written += 1
    seen["failures"] = event_log.counts.failures
    seen["whole_when_full"] = _whole(disk / "log")
    filler.unlink()
    clock.advance(2)
    event_log.flush()
    seen["accepting_again"] = event_log.accepting
    stream.close(logs.TERMINAL, "done")
    event_log.close()
    numbers = [text.split()[0] for text in logs.texts(logs.streams_of(disk / "log")["s"])]
    seen["all_there"] = numbers == [str(number) for number in range(written)]
    seen["segments"] = len(list((disk / "log").glob("events-*")))
    seen["lost"] = event_log.counts.records_lost
    return seen


def compressed_on_full_disk(disk: Path) -> dict[str, Any]:
    """Old segments that are compressed on a disk that is full, then read-only, then neither."""
    _mount(f"size={SIZE}", disk)
    log = coldlogs.closed_log(disk / "log")
    wanted = [compressor.Cold(*each) for each in coldlogs.figures_of(log).items()]
    counts = compressor.CompressionCounts()
    seen: dict[str, Any] = {}

    def attempt(name: str) -> None:
        before = counts.segments, counts.failures
        cold = compressor.Compressor(log, counts, lambda: True)
        cold.take(wanted, lambda: None)
        cold._thread.submit(int).result()
        cold.close()
        done, failed = counts.segments - before[0], counts.failures - before[1]
        drafts = len(list(log.glob("*.new")))
        seen[name] = [done == len(wanted), failed == len(wanted), drafts, _whole(log)]

    _fill(disk / "filler")
    attempt("full")
    (disk / "filler").unlink()
    _remount("ro", disk)
    attempt("read_only")
    _remount("rw", disk)
    attempt("neither")
    return seen


def read_only_disk(disk: Path, on_error: str) -> dict[str, Any]:
    """Streams on a disk that cannot be written to, and can be later."""
    _mount(f"ro,size={SIZE}", disk)
    clock = logs.Clock()
    event_log = eventlog.EventLog(logs.settings(disk / "log", on_error=on_error), clock)
    event_log.open()
    seen: dict[str, Any] = {"accepting_when_full": event_log.accepting}
    logs.write_stream(event_log, "s")
    clock.advance(2)
    logs.write_stream(event_log, "t")
    seen["failures"] = event_log.counts.failures
    _remount("rw", disk)
    clock.advance(2)
    event_log.flush()
    seen["accepting_again"] = event_log.accepting
    event_log.close()
    seen["all_there"] = list(logs.streams_of(disk / "log")) == ["s", "t"]
    seen["lost"] = event_log.counts.records_lost
    return seen


def _whole(directory: Path) -> bool:
    """Whether there is nothing wrong with a log, not even a torn tail."""
    return bool(logs.streams_of(directory))


def full_store(disk: Path) -> dict[str, Any]:
    """Responses on a disk that fills up, and has room again later."""
    _mount(f"size={STORE_SIZE}", disk)
    filler = disk / "filler"
    filler.write_bytes(b"x" * (STORE_SIZE // 2))
    kept: list[responsestore.StoredResponse] = []
    seen: dict[str, Any] = {}

    async def fill(store: sqlitestore.SqliteStore) -> None:
        with contextlib.suppress(responsestore.StoreError):
            while True:
                made = store_contract.response(str(len(kept)), body=b"x" * 20_000)
                await store.put(made)
                kept.append(made)

    async def all_there(store: sqlitestore.SqliteStore) -> bool:
        found = [await store.get(each.response_id, each.key_id) for each in kept]
        return found == kept

    async def run() -> None:
        store = _store(disk)
        await store.open()
        await fill(store)
        seen["kept_some"] = len(kept) > 10
        try:
            await store.put(store_contract.response("refused", body=b"x" * 20_000))
        except responsestore.StoreError as error:
            seen["said"] = str(error).removeprefix(f"{disk}/")
        seen["failures"] = store.counts.failures
        seen["there_when_full"] = await all_there(store)
        await store.close()
        store = _store(disk)
        await store.open()
        seen["there_after_a_restart"] = await all_there(store)
        await fill(store)
        filler.unlink()
        before = len(kept)
        await fill(store)
        seen["went_on"] = len(kept) > before + 10
        await store.close()
        store = _store(disk)
        await store.open()
        seen["there_at_the_end"] = await all_there(store)
        await store.close()

    asyncio.run(run())
    return seen


def read_only_store(disk: Path) -> dict[str, Any]:
    """A store on a disk that cannot be written to, when there is none yet and when there is."""
    _mount(f"ro,size={STORE_SIZE}", disk)

    async def attempt() -> str:
        store = _store(disk)
        try:
            await store.open()
        except responsestore.StoreError as error:
            return str(error)
        await store.close()
        return "opened"

    seen = {"none": asyncio.run(attempt())}
    _remount("rw", disk)
    seen["writable"] = asyncio.run(attempt())
    _remount("ro", disk)
    seen["one"] = asyncio.run(attempt())
    return seen


def full_disk_of_responses(disk: Path) -> dict[str, Any]:
    """A server whose responses are on a disk that fills up, and has room again later."""
    _mount(f"size={STORE_SIZE}", disk)
    with (
        upstreams.Hosted() as source,
        serving.running(
            "--worker",
            "upstream",
            data_dir=disk / "data",
            PROXY_EVENT_LOG="off",
            PROXY_UPSTREAM_URL=source.url,
        ) as server,
    ):
        client = responsesclient.Client(server)
        first = client.made("hi")["id"]
        seen: dict[str, Any] = {"kept_when_there_was_room": client.get(first).status}
        gate = Gate()
        slow = source.prompt([gate, *upstreams.PLAIN])
        begun = client.made(slow, background=True, instructions=LARGE)["id"]
        _fill(disk / "filler")
        seen |= _answered_without_room(client, first)
        gate.open()
        machinetime.until(lambda: client.get(begun).body["status"] != "in_progress")
        seen["begun_when_there_was_room"] = client.get(begun).body["status"]
        (disk / "filler").unlink()
        again = client.made("hi", instructions=LARGE)["id"]
        seen["kept_again"] = client.get(again).status
        errors = [line for line in server.lines if line.get("severity") == "error"]
        seen["said"] = sorted({line["event"] for line in errors})
    return seen


def full_disk_of_log(disk: Path, on_error: str) -> dict[str, Any]:
    """A server whose event log is on a disk that fills up, and has room again later."""
    _mount(f"size={SIZE}", disk)
    settings = {"PROXY_LOG_ON_ERROR": on_error, "PROXY_STORE": "off"}
    with serving.running("--worker", "scripted", data_dir=disk / "data", **settings) as server:
        _fill(disk / "filler")
        plain.chat(server)
        machinetime.until(lambda: bool(_said(server, "event_log_failing")), TOLD_S)
        seen: dict[str, Any] = {"when_full": _told(server)}
        (disk / "filler").unlink()
        plain.chat(server)
        machinetime.until(lambda: bool(_said(server, "event_log_recovered")), TOLD_S)
        seen["again"] = _told(server)
    return seen


def _said(server: serving.Serve, event: str) -> list[dict[str, Any]]:
    return [line for line in list(server.lines) if line.get("event") == event]


def _told(server: serving.Serve) -> dict[str, Any]:
    """What a probe, a request and a scrape say of a server's log."""
    scrape = plain.ask(server, "GET", "/metrics").body.decode()
    accepting = re.findall(r"(?m)^turntape_log_accepting (\d)", scrape)
    failures = re.findall(r"(?m)^turntape_log_write_failures_total (\d+)", scrape)
    return {
        "probe": server.get("/readyz")[0],
        "request": plain.chat(server).status,
        "accepting": accepting,
        "has_failed": float(failures[0]) > 0,
    }


def _fill(filler: Path) -> None:
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def _answered_without_room(client: responsesclient.Client, first: str) -> dict[str, Any]:
    """How a server answers that cannot keep its answers."""
    last = client.create("hi", stream=True, instructions=LARGE).told[-1]
    whole = client.made("hi", instructions=LARGE)
    refused = client.create("hi", background=True, instructions=LARGE)
    following = client.made("hi", previous_response_id=first)
    return {
        "stream": [last["type"], client.get(last["response"]["id"]).status],
        "whole": [whole["status"], client.get(whole["id"]).status],
        "background": list(refused.problem[:2]),
        "goes_on_from_what_was_kept": following["status"],
    }


def _store(disk: Path) -> sqlitestore.SqliteStore:
    path = disk / "data" / "responses.sqlite"
    return sqlitestore.SqliteStore(path, responsestore.Limits(), time.time)


if __name__ == "__main__":
    trials: dict[str, Callable[..., dict[str, Any]]] = {
        "full": full_disk,
        "read-only": read_only_disk,
        "compressed": compressed_on_full_disk,
        "full-store": full_store,
        "read-only-store": read_only_store,
        "full-disk-of-responses": full_disk_of_responses,
        "full-disk-of-log": full_disk_of_log,
    }
    trial, directory, *options = sys.argv[1:]
    print(msgspec.json.encode(trials[trial](Path(directory), *options)).decode())
