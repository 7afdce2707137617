"""A name leads to one worker, its word for the model, and those that stand in."""

import asyncio

import pytest

from engine import slices, worker, workerkinds
from engine.routing import fleet as routing, models
from engine.routing.fleet import Fleet, Rule, UnknownModel


class Named:
    """A worker that has some models.

    Args:
        life: what became of all workers so far.
    """

    def __init__(self, kind: workerkinds.Kind, life: list[str], *known: str) -> None:
        self.kind = kind
        self.accepts: worker.AnyModel | worker.ListedModels = worker.AnyModel()
        self.life = life
        self.known = known

    async def start(self) -> None:
        self.life.append(f"{self.kind.name} starts")

    async def stop(self) -> None:
        self.life.append(f"{self.kind.name} stops")

    def health(self) -> worker.Health:
        return worker.Health(True, "ready")

    def versions(self) -> dict[str, str]:
        return {}

    def models(self) -> tuple[str, ...]:
        return self.known

    def describe(self, model: str) -> worker.ModelCard:
        """Nothing."""
        return worker.ModelCard()

    def check(self, turn: worker.Turn) -> slices.Steps[worker.Runner]:
        """Nothing is refused."""
        yield
        return self

    def run(self, turn: worker.Turn, feed: worker.Feed) -> worker.RunningTurn:
        raise NotImplementedError


def accepted(runner: worker.Worker) -> models.ModelTable | models.AnyModel:
    if runner.kind is workerkinds.UPSTREAM:
        return models.AnyModel(runner.models())
    return models.ModelTable(runner.models(), runner.models()[0], None)


LIFE: list[str] = []
CODEX = Named(workerkinds.CODEX, LIFE, "gpt-5.5", "gpt-6")
UPSTREAM = Named(workerkinds.UPSTREAM, LIFE, "qwen")


def fleet(**rules: Rule) -> Fleet:
    return Fleet({"codex": CODEX, "upstream": UPSTREAM}, rules, accepted)


def test_a_rule_says_worker_model_effort_and_defaults() -> None:
    small = Rule(worker="upstream", model="qwen", defaults={"seed": 1})
    target = fleet(small=small).resolve("small")
    assert target == routing.Target("small", UPSTREAM, "qwen", None, {"seed": 1})
    hard = fleet(hard=Rule(model="codex-5-low", effort="high")).resolve("hard")
    assert hard == routing.Target("hard", CODEX, "gpt-5.5", "high")


def test_what_a_rule_leaves_out_is_the_default_worker_and_the_name_itself() -> None:
    assert fleet(**{"codex-5-low": Rule()}).resolve("codex-5-low") == routing.Target(
        "codex-5-low", CODEX, "gpt-5.5", "low"
    )
    assert fleet(phi=Rule(worker="upstream")).resolve("phi") == routing.Target(
        "phi", UPSTREAM, "phi"
    )


def test_names_without_a_rule_are_the_default_workers() -> None:
    assert fleet(small=Rule()).resolve("gpt-6") == routing.Target("gpt-6", CODEX, "gpt-6")
    assert fleet().resolve("qwen") is None
    assert fleet().route("qwen") == ()


def test_a_route_follows_every_fallback() -> None:
    chain = fleet(
        a=Rule(worker="upstream", fallback="b"),
        b=Rule(worker="upstream", fallback="codex-5-high"),
    )
    assert [(each.name, each.model, each.effort) for each in chain.route("a")] == [
        ("a", "a", None),
        ("b", "b", None),
        ("codex-5-high", "gpt-5.5", "high"),
    ]
    assert [each.name for each in chain.route("gpt-6")] == ["gpt-6"]


def test_names_with_a_rule_are_listed_first_and_once() -> None:
    listed = fleet(small=Rule(worker="upstream"), **{"gpt-6": Rule()}).listed()
    assert listed[:3] == ("small", "gpt-6", "gpt-5.5")
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize(
    ("rules", "where"),
    [
        ({"a": Rule(model="gpt-4")}, ("a", "model", "gpt-4", "codex")),
        ({"a": Rule()}, ("a", "model", "a", "codex")),
        ({"a": Rule(model="gpt-6", fallback="qwen")}, ("a", "fallback", "qwen", "codex")),
    ],
)
def test_a_rule_that_leads_nowhere_is_found(
    rules: dict[str, Rule], where: tuple[str, str, str, str]
) -> None:
    with pytest.raises(UnknownModel) as raised:
        fleet(**rules).check()
    found = raised.value
    assert (found.rule, found.field, found.model, found.kind.name) == where


def test_rules_that_lead_somewhere_pass() -> None:
    fleet(a=Rule(worker="upstream", fallback="b"), b=Rule(model="gpt-6")).check()


def test_a_model_that_a_worker_has_lost_since_is_still_asked_for() -> None:
    lost = fleet(a=Rule(model="gpt-4")).resolve("a")
    assert lost is not None
    assert lost.model == "gpt-4"


def test_every_worker_is_started_and_stopped() -> None:
    async def live() -> None:
        workers = fleet()
        await workers.start()
        await workers.stop()

    LIFE.clear()
    asyncio.run(live())
    assert LIFE == ["codex starts", "upstream starts", "codex stops", "upstream stops"]


class Failing(Named):
    """A worker that fails where it is told to."""

    def __init__(self, kind: workerkinds.Kind, at: str) -> None:
        super().__init__(kind, LIFE, kind.name)
        self._at = at

    async def start(self) -> None:
        if self._at == "start":
            raise RuntimeError(f"{self.kind.name} cannot start")
        await super().start()

    async def stop(self) -> None:
        await super().stop()
        if self._at == "stop":
            raise RuntimeError(f"{self.kind.name} cannot stop")


def test_only_what_has_started_is_stopped() -> None:
    async def live() -> None:
        workers = Fleet(
            {"codex": CODEX, "upstream": Failing(workerkinds.UPSTREAM, "start")}, {}, accepted
        )
        with pytest.raises(RuntimeError, match="cannot start"):
            await workers.start()
        await workers.stop()

    LIFE.clear()
    asyncio.run(live())
    assert LIFE == ["codex starts", "codex stops"]


def test_one_worker_that_cannot_stop_does_not_keep_the_others() -> None:
    async def live() -> None:
        workers = Fleet(
            {"codex": Failing(workerkinds.CODEX, "stop"), "upstream": UPSTREAM}, {}, accepted
        )
        await workers.start()
        with pytest.raises(ExceptionGroup) as raised:
            await workers.stop()
        assert [str(error) for error in raised.value.exceptions] == ["codex cannot stop"]

    LIFE.clear()
    asyncio.run(live())
    assert LIFE[-2:] == ["codex stops", "upstream stops"]
