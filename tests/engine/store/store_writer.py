"""A process that keeps responses until it is killed, and says what it has kept.

Run as a program, `python -m tests.engine.store.store_writer FILE NAME`: eight conversations side
by side, of which it deletes some responses again, and housekeeping between them.
"""

import asyncio
import itertools
import sys
import time
from pathlib import Path

from engine.store import sqlite as sqlitestore, store as responsestore
from tests.engine.store import store_contract

CONVERSATIONS = 8


async def _converse(store: responsestore.ResponseStore, name: str) -> None:
    previous = None
    for turn in itertools.count():
        this = f"{name}-{turn}"
        text = f"{this} {'x' * (turn * 997 % 30_000)}"
        message = store_contract.item(f"in_{this}", text)
        await store.put(store_contract.response(this, previous, input=(message,)))
        print("kept", this, previous, flush=True)
        previous = this
        if turn % 5 == 0:
            await store.put(store_contract.response(f"{this}-again"))
            await store.delete(f"resp_{this}-again", store_contract.KEY)
            print("deleted", f"{this}-again", flush=True)


async def _keep_house(store: responsestore.ResponseStore) -> None:
    while True:
        await store.prune()
        await asyncio.sleep(0)


async def _main(path: Path, name: str) -> None:
    store = sqlitestore.SqliteStore(path, responsestore.Limits(), time.time)
    await store.open()
    print("opened", flush=True)
    chores = [_converse(store, f"{name}-{number}") for number in range(CONVERSATIONS)]
    await asyncio.gather(_keep_house(store), *chores)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2]))
