"""What every store of responses keeps: cases that each engine's own test class inherits."""

import abc
import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from engine.store import store as responsestore
from engine.store.store import Limits, ResponseStore, StoredResponse
from machines import parse

KEY = "3b8e41d0c2f7a965"
"""Whose responses they are."""

NOW = 1_795_293_345
"""When everything happens, in seconds since the epoch."""

UNLIMITED = Limits(ttl_s=0, max_bytes=0)

Scene = Callable[[ResponseStore], Awaitable[None]]


class Clock:
    """Wall time that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.seconds = NOW

    def __call__(self) -> float:
        return self.seconds + 0.5


STILL = Clock()
"""For cases in which no time passes."""


def item(item_id: str, text: str = "hello") -> msgspec.Raw:
    """An item of a conversation."""
    return msgspec.Raw(msgspec.json.encode({"type": "message", "id": item_id, "content": text}))


def response(name: str, previous: str | None = None, **fields: Any) -> StoredResponse:
    """A response to one message, by default a finished one."""
    status = fields.get("status", "completed")
    body = {"id": f"resp_{name}", "status": status, "error": None, "output": [], "note": "é\n"}
    made: dict[str, Any] = {
        "key_id": KEY,
        "created_at": NOW,
        "status": status,
        "body": msgspec.json.encode(body),
        "input": (item(f"in_{name}"),),
        "output": (item(f"rs_{name}", "encrypted"), item(f"out_{name}")),
        "previous_response_id": previous and f"resp_{previous}",
        **fields,
    }
    return StoredResponse(response_id=f"resp_{name}", **made)


def ids(items: tuple[msgspec.Raw, ...]) -> list[str]:
    """The ids of some items, in their order."""
    return [msgspec.json.decode(each)["id"] for each in items]


async def put(store: ResponseStore, *responses: StoredResponse) -> None:
    """Keep some responses, one after the other."""
    for each in responses:
        await store.put(each)


async def there(store: ResponseStore, *names: str) -> str:
    """Which of some responses are kept, as a line of their names."""
    found = [name for name in names if await store.get(f"resp_{name}", KEY) is not None]
    return " ".join(found)


class StoreContract(abc.ABC):
    """The cases."""

    @abc.abstractmethod
    def make(self, directory: Path, limits: Limits, now: Callable[[], float]) -> ResponseStore:
        """A store that is not open yet; of one directory always the same."""

    @contextlib.asynccontextmanager
    async def opened(
        self, directory: Path, limits: Limits = UNLIMITED, now: Callable[[], float] = STILL
    ) -> AsyncIterator[ResponseStore]:
        """A store that is open, closed at the end."""
        store = self.make(directory, limits, now)
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    def play(self, directory: Path, scene: Scene, limits: Limits = UNLIMITED) -> None:
        """Run a scene with an open store."""

        async def run() -> None:
            async with self.opened(directory, limits) as store:
                await scene(store)

        uvloop.run(run())

    def test_a_response_is_there_as_it_was_put_and_after_a_restart(self, tmp_path: Path) -> None:
        kept = [
            response("1"),
            response("2", "1", status="incomplete", input=(), output=()),
            response("3", input=tuple(item(f"in_{n}", "é" * n) for n in range(50))),
        ]

        async def run() -> None:
            async with self.opened(tmp_path) as store:
                await put(store, *kept)
                for each in kept:
                    assert await store.get(each.response_id, KEY) == each
            async with self.opened(tmp_path) as store:
                for each in kept:
                    assert await store.get(each.response_id, KEY) == each

        uvloop.run(run())

    def test_what_was_never_put_is_not_there(self, tmp_path: Path) -> None:
        async def scene(store: ResponseStore) -> None:
            assert await store.get("resp_1", KEY) is None
            assert await store.items(("in_1",), KEY) == {}
            assert await store.delete("resp_1", KEY) is False
            assert await store.interrupted() == 0
            with pytest.raises(responsestore.ResponseMissing):
                await store.conversation("resp_1", KEY)

        self.play(tmp_path, scene)

    def test_a_response_takes_the_place_of_one_with_its_id(self, tmp_path: Path) -> None:
        async def scene(store: ResponseStore) -> None:
            await put(store, response("1", status="in_progress", output=(item("draft"),)))
            await put(store, response("2", "1"), response("1"))
            assert await store.get("resp_1", KEY) == response("1")
            assert await store.items(("draft",), KEY) == {}
            assert ids(await store.conversation("resp_2", KEY))[:3] == ["in_1", "rs_1", "out_1"]

        self.play(tmp_path, scene)

    def test_another_owner_takes_over_what_a_former_one_had(self, tmp_path: Path) -> None:
        async def scene(store: ResponseStore) -> None:
            await put(store, response("1"), response("2", "1"))
            await put(store, response("3", key_id="other"), response("1", key_id="heir"))
            assert await store.adopt(KEY, "heir") == 1
            assert await store.adopt(KEY, "heir") == 0
            assert await store.adopt("nobody", "heir") == 0
            assert await store.get("resp_2", KEY) is None
            kept = await store.get("resp_2", "heir")
            assert kept == response("2", "1", key_id="heir")
            assert len(await store.conversation("resp_2", "heir")) == 6
            assert await store.get("resp_3", "other") is not None
            assert await store.get("resp_1", KEY) == response("1")  # of an id that the heir has

        self.play(tmp_path, scene)

    def test_nothing_of_one_key_is_there_for_another(self, tmp_path: Path) -> None:
        async def scene(store: ResponseStore) -> None:
            await put(store, response("1"), response("1", key_id="other", input=()))
            await put(store, response("2"))
            await put(store, response("3", "2", key_id="other"))
            assert await store.get("resp_1", KEY) == response("1")
            assert await store.get("resp_2", "other") is None
            assert await store.items(("in_1", "out_1", "out_2"), "other") == {
                "out_1": item("out_1")
            }
            with pytest.raises(responsestore.ResponseMissing) as caught:
                await store.conversation("resp_3", "other")
            assert caught.value.response_id == "resp_2"
            assert await store.delete("resp_2", "other") is False
            assert await store.delete("resp_1", "other") is True
            assert await there(store, "1", "2") == "1 2"

        self.play(tmp_path, scene)

    def test_to_have_no_key_is_to_be_somebody_else(self, tmp_path: Path) -> None:
        async def scene(store: ResponseStore) -> None:
            await put(store, response("1", key_id=""))
            assert await store.get("resp_1", "") is not None
            assert await there(store, "1") == ""

        self.play(tmp_path, scene)

    def test_a_conversation_is_all_items_oldest_first(self, tmp_path: Path) -> None:
        async def scene(store: ResponseStore) -> None:
            await put(store, response("1"), response("2", "1"), response("3", "2"))
            await put(store, response("branch", "1", input=(item("z"), item("a"))))
            of_first = ["in_1", "rs_1", "out_1"]
            of_second = ["in_2", "rs_2", "out_2"]
            of_third = ["in_3", "rs_3", "out_3"]
            third = await store.conversation("resp_3", KEY)
            assert ids(third) == of_first + of_second + of_third
            assert third[1] == item("rs_1", "encrypted")
            assert ids(await store.conversation("resp_1", KEY)) == of_first
            branch = await store.conversation("resp_branch", KEY)
            assert ids(branch) == [*of_first, "z", "a", "rs_branch", "out_branch"]

        self.play(tmp_path, scene)

    @pytest.mark.parametrize(
        ("asked", "missing"), [("3", "2"), ("none", "none"), ("loop", "pool")]
    )
    def test_a_conversation_with_a_hole_names_it(
        self, tmp_path: Path, asked: str, missing: str
    ) -> None:
        async def scene(store: ResponseStore) -> None:
            await put(store, response("1"), response("2", "1"), response("3", "2"))
            await put(store, response("loop", "pool"))
            assert await store.delete("resp_2", KEY)
            with pytest.raises(responsestore.ResponseMissing, match=f"'resp_{missing}'") as caught:
                await store.conversation(f"resp_{asked}", KEY)
            assert caught.value.response_id == f"resp_{missing}"

        self.play(tmp_path, scene)

    def test_a_conversation_that_goes_in_a_circle_has_no_beginning(self, tmp_path: Path) -> None:
        async def scene(store: ResponseStore) -> None:
            await put(store, response("1", "2"), response("2", "1"))
            with pytest.raises(responsestore.ResponseMissing):
                await store.conversation("resp_1", KEY)

        self.play(tmp_path, scene)

    def test_a_long_conversation_goes_as_far_as_its_limit(self, tmp_path: Path) -> None:
        turns = [response("0")] + [response(str(n), str(n - 1)) for n in range(1, 100)]
        size = sum(each.size - len(each.body) for each in turns)

        async def scene(store: ResponseStore) -> None:
            await asyncio.gather(*map(store.put, turns))
            assert len(await store.conversation("resp_99", KEY)) == 300
            await put(store, response("100", "99"))
            with pytest.raises(responsestore.ConversationTooLarge, match=str(size)):
                await store.conversation("resp_100", KEY)

        self.play(tmp_path, scene, Limits(ttl_s=0, max_bytes=0, conversation_bytes=size))

    def test_items_are_found_by_id_an_output_before_an_input(self, tmp_path: Path) -> None:
        async def scene(store: ResponseStore) -> None:
            await put(store, response("1"))
            again = (item("rs_1", "as shown"), item("in_1", "edited"))
            await put(store, response("2", input=again))
            found = await store.items(("in_1", "rs_1", "none", "out_2"), KEY)
            assert found == {
                "in_1": item("in_1", "edited"),
                "rs_1": item("rs_1", "encrypted"),
                "out_2": item("out_2"),
            }

        self.play(tmp_path, scene)

    @pytest.mark.parametrize("raw", [b"[]", b'{"type":"message"}', b'{"id":1}', b"{"])
    def test_an_item_without_an_id_is_refused_and_nothing_else(
        self, tmp_path: Path, raw: bytes
    ) -> None:
        async def scene(store: ResponseStore) -> None:
            bad = response("bad", output=(msgspec.Raw(raw),))
            outcomes = await asyncio.gather(
                store.put(response("1")),
                store.put(bad),
                store.put(response("2")),
                return_exceptions=True,
            )
            assert [type(each) for each in outcomes[::2]] == [type(None)] * 2
            assert isinstance(outcomes[1], parse.ParseError)
            assert await there(store, "1", "bad", "2") == "1 2"

        self.play(tmp_path, scene)

    def test_what_is_deleted_is_gone_with_its_items(self, tmp_path: Path) -> None:
        async def scene(store: ResponseStore) -> None:
            await put(store, response("1"), response("2"))
            assert await store.delete("resp_1", KEY) is True
            assert await store.delete("resp_1", KEY) is False
            assert await there(store, "1", "2") == "2"
            assert list(await store.items(("in_1", "out_1", "out_2"), KEY)) == ["out_2"]

        self.play(tmp_path, scene)

    def test_what_a_restart_interrupted_is_failed(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with self.opened(tmp_path) as store:
                await put(store, response("1", status="queued"), response("2"))
                await put(store, response("3", "2", status="in_progress"))
                await put(store, response("4", status="cancelled"))
                await put(store, response("5", status="in_progress"), response("5"))
            async with self.opened(tmp_path) as store:
                assert await store.interrupted() == 2
                for name in ("1", "3"):
                    found = await store.get(f"resp_{name}", KEY)
                    assert found is not None
                    assert found.status == "failed"
                    assert msgspec.json.decode(found.body) == {
                        "id": f"resp_{name}",
                        "status": "failed",
                        "error": {
                            "code": "server_error",
                            "message": "The response was interrupted by a restart.",
                        },
                        "output": [],
                        "note": "é\n",
                    }
                    assert found.output == response(name).output
                for kept in (response("2"), response("4", status="cancelled"), response("5")):
                    assert await store.get(kept.response_id, KEY) == kept
                assert await store.interrupted() == 0

        uvloop.run(run())

    def test_a_thousand_at_once_take_effect_in_their_order(self, tmp_path: Path) -> None:
        async def scene(store: ResponseStore) -> None:
            def put(n: int) -> Awaitable[Any]:
                return store.put(response(str(n % 7), input=(item(f"turn_{n}"),)))

            def delete(n: int) -> Awaitable[Any]:
                return store.delete(f"resp_{n % 7}", KEY)

            asked = [delete(n) if n % 11 == 0 else put(n) for n in range(1000)]
            await asyncio.gather(*asked)
            for last in range(993, 1000):
                found = await store.get(f"resp_{last % 7}", KEY)
                assert found is None if last % 11 == 0 else found is not None
                if found is not None:
                    assert ids(found.input) == [f"turn_{last}"]

        self.play(tmp_path, scene)

    def test_a_put_that_is_given_up_takes_no_other_with_it(self, tmp_path: Path) -> None:
        async def scene(store: ResponseStore) -> None:
            tasks = [asyncio.create_task(store.put(response(str(n)))) for n in range(3)]
            await asyncio.sleep(0)
            tasks[0].cancel()
            tasks[1].cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(outcomes[0], asyncio.CancelledError)
            assert outcomes[2] is None
            assert await there(store, "2") == "2"

        self.play(tmp_path, scene)

    def test_what_is_past_its_age_goes_unless_one_that_stays_goes_on_from_it(
        self, tmp_path: Path
    ) -> None:
        clock = Clock()
        names = ("old", "1", "2", "3", "dead", "end", "edge")

        async def run() -> None:
            async with self.opened(tmp_path, Limits(ttl_s=1000, max_bytes=0), clock) as store:
                await put(store, response("old", created_at=NOW))
                await put(store, response("1", created_at=NOW))
                await put(store, response("2", "1", created_at=NOW + 1))
                await put(store, response("dead", "1", created_at=NOW + 2))
                await put(store, response("end", "dead", created_at=NOW + 3))
                await put(store, response("edge", created_at=NOW + 10))
                await put(store, response("3", "2", created_at=NOW + 900))
                await put(store, response("4", "edge", key_id="other", created_at=NOW + 900))
                await store.prune()
                assert await there(store, *names) == " ".join(names)
                clock.seconds = NOW + 1010
                await store.prune()
                assert await there(store, *names) == "1 2 3 edge"
                assert store.counts.responses_pruned == 3
                gone = (response("old"), response("dead"), response("end"))
                assert store.counts.bytes_pruned == sum(each.size for each in gone)
                clock.seconds = NOW + 1011
                await store.prune()
                assert await there(store, *names) == "1 2 3"
                clock.seconds = NOW + 1901
                await store.prune()
                assert await there(store, *names) == ""
                assert store.counts.responses_pruned == 8
                assert await store.items(("in_1", "out_3"), KEY) == {}

        uvloop.run(run())

    def test_many_go_by_age_at_once(self, tmp_path: Path) -> None:
        clock = Clock()

        async def run() -> None:
            async with self.opened(tmp_path, Limits(ttl_s=1000, max_bytes=0), clock) as store:
                chain = [response("0")]
                chain += [response(str(n), str(n - 1), created_at=NOW + n) for n in range(1, 600)]
                await asyncio.gather(*map(store.put, chain))
                clock.seconds = NOW + 1599
                await store.prune()
                assert len(await store.conversation("resp_599", KEY)) == 1800
                clock.seconds = NOW + 1600
                await store.prune()
                assert await store.get("resp_0", KEY) is None
                assert store.counts.responses_pruned == 600

        uvloop.run(run())

    def test_without_limits_nothing_goes(self, tmp_path: Path) -> None:
        clock = Clock()

        async def run() -> None:
            async with self.opened(tmp_path, UNLIMITED, clock) as store:
                await put(store, response("1", created_at=0))
                clock.seconds = 2 * NOW
                await store.prune()
                assert await there(store, "1") == "1"

        uvloop.run(run())

    def test_above_its_size_the_oldest_go_whoever_goes_on_from_them(self, tmp_path: Path) -> None:
        text = "x" * 100_000

        async def scene(store: ResponseStore) -> None:
            await put(store, response("0", input=(item("in_0", text),)))
            for n in range(1, 100):
                await put(store, response(str(n), str(n - 1), input=(item(f"in_{n}", text),)))
            newest = await there(store, *map(str, range(100)))
            first = int(newest.split()[0])
            assert newest == " ".join(map(str, range(first, 100)))
            assert 80 < first < 95
            assert store.counts.responses_pruned == first
            assert store.counts.bytes_pruned > first * 100_000
            with pytest.raises(responsestore.ResponseMissing, match=f"'resp_{first - 1}'"):
                await store.conversation("resp_99", KEY)

        self.play(tmp_path, scene, Limits(ttl_s=0, max_bytes=1_500_000))

    def test_one_that_is_larger_than_the_store_is_refused_and_drives_nothing_out(
        self, tmp_path: Path
    ) -> None:
        async def scene(store: ResponseStore) -> None:
            await put(store, response("1"))
            with pytest.raises(responsestore.StoreError, match="resp_2 is larger"):
                await store.put(response("2", body=b"x" * 1_000_001))
            assert await there(store, "1", "2") == "1"

        self.play(tmp_path, scene, Limits(max_bytes=1_000_000))

    def test_the_newest_stays_though_it_takes_all_the_room_there_is(self, tmp_path: Path) -> None:
        async def scene(store: ResponseStore) -> None:
            await put(store, response("1"), response("2", body=b"x" * 999_000))
            await store.prune()
            assert await there(store, "1", "2") == "2"

        self.play(tmp_path, scene, Limits(max_bytes=1_000_000))

    def test_sixteen_mebibytes_come_back_as_they_were(self, tmp_path: Path) -> None:
        async def scene(store: ResponseStore) -> None:
            large = response("1", input=(item("in_1", "é" * (8 << 20)),))
            await asyncio.gather(store.put(large), store.put(response("2", "1")))
            assert await store.get("resp_1", KEY) == large
            assert (await store.conversation("resp_2", KEY))[0] == large.input[0]

        self.play(tmp_path, scene)

    def test_a_store_that_is_not_open_says_so(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with self.opened(tmp_path) as closed:
                await closed.put(response("1"))
            for store in (closed, self.make(tmp_path, UNLIMITED, STILL)):
                with pytest.raises(responsestore.StoreError, match="not open"):
                    await store.put(response("2"))
                with pytest.raises(responsestore.StoreError, match="not open"):
                    await store.get("resp_1", KEY)
                await store.prune()
                await store.close()

        uvloop.run(run())

    def test_closing_waits_for_what_was_asked(self, tmp_path: Path) -> None:
        async def run() -> None:
            store = self.make(tmp_path, UNLIMITED, STILL)
            await store.open()
            puts = [asyncio.create_task(store.put(response(str(n)))) for n in range(100)]
            await asyncio.sleep(0)
            await store.close()
            await asyncio.gather(*puts)
            async with self.opened(tmp_path) as again:
                assert await there(again, "0", "99") == "0 99"

        uvloop.run(run())
