"""In place of a worker that is switched off: never ready, and every turn is refused."""

import asyncio

import pytest

from engine import slices, worker
from engine.codex import disabled
from tests.support.providers.turnscene import TURN


def test_it_is_not_ready_and_says_why() -> None:
    runner = disabled.DisabledWorker("gpt-5.5")
    health = runner.health()
    assert (health.ready, health.state) == (False, "disabled")
    assert (runner.models(), runner.versions()) == ((), {})
    assert runner.describe("gpt-5.5") == worker.ModelCard()
    assert runner.accepts == worker.ListedModels("gpt-5.5")


def test_every_turn_is_refused_with_its_code() -> None:
    with pytest.raises(worker.TurnRefused) as refused:
        slices.at_once(disabled.DisabledWorker("m").check(TURN))
    assert refused.value.code == "app_server_disabled"


def test_it_can_be_started_and_stopped() -> None:
    async def live() -> None:
        runner = disabled.DisabledWorker("m")
        await runner.start()
        await runner.stop()

    asyncio.run(live())
