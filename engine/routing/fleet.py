"""Which worker answers for a model's name, under which name and with what, and who stands in."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from engine import worker, workerkinds
from engine.routing import models
from engine.routing.timeouts import USUAL, Timeouts


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's rule for one name in the models file.

    Attributes:
        worker: None for the default worker.
        model: what that worker calls it; None for the name itself.
        effort: Codex's reasoning effort, where a request names none.
        defaults: members for requests that leave them out.
        fallback: any name that is accepted: what is asked instead, where this has failed.
        timeouts: its own limits of time.
        web_search: whether requests may have the worker search the web.
    """

    worker: workerkinds.Name | None = None
    model: str | None = None
    effort: str | None = None
    defaults: dict[str, Any] = {}
    fallback: str | None = None
    timeouts: Timeouts = USUAL
    web_search: bool = False


class Target(msgspec.Struct, frozen=True):
    """The worker and the model that a name stands for.

    Attributes:
        model: as the worker knows it.
    """

    name: str
    worker: worker.Worker
    model: str
    effort: str | None = None
    defaults: dict[str, Any] = {}
    timeouts: Timeouts = USUAL
    web_search: bool = False


Accepted = Callable[[worker.Worker], models.ModelTable | models.AnyModel]
"""Returns the names that a worker takes now: it may learn its models late."""


class UnknownModel(Exception):
    """Raised for a rule whose model its worker does not know.

    Args:
        rule: the name it is for.
        model: what is not known.
        kind: of the worker that does not know it.

    Attributes:
        field: of the rule, at fault.
    """

    field = "model"

    def __init__(self, rule: str, model: str, kind: workerkinds.Kind) -> None:
        super().__init__(f"{rule}.{self.field}: {model}")
        self.rule = rule
        self.model = model
        self.kind = kind


class UnknownFallback(UnknownModel):
    """Raised for a rule whose fallback has no rule and is not known to the default worker."""

    field = "fallback"


class Fleet:
    """The workers of a server, and the rules by which names lead to them.

    Args:
        workers: the first is the default, which has every name that no rule is for.
    """

    def __init__(
        self,
        workers: Mapping[str, worker.Worker],
        rules: Mapping[str, Rule],
        accepted: Accepted,
    ) -> None:
        self.workers = dict(workers)
        self.default = next(iter(self.workers.values()))
        self._rules = rules
        self._accepted = accepted
        self._started: list[worker.Worker] = []

    async def start(self) -> None:
        """Start every worker."""
        for each in self.workers.values():
            await each.start()
            self._started.append(each)

    async def stop(self) -> None:
        """Stop the started workers side by side: each has the whole of its grace.

        Raises:
            ExceptionGroup: what some have failed with, once all have ended.
        """
        stops = (each.stop() for each in self._started)
        results = await asyncio.gather(*stops, return_exceptions=True)
        errors = [result for result in results if isinstance(result, Exception)]
        if errors:
            raise ExceptionGroup("workers did not stop", errors)

    def under(self, rules: Mapping[str, Rule], accepted: Accepted) -> "Fleet":
        """Return a fleet of the same workers, which run already, under other rules."""
        return Fleet(self.workers, rules, accepted)

    def check(self) -> None:
        """Look for rules that lead nowhere.

        Raises:
            UnknownModel: for the first of them.
        """
        for name, rule in self._rules.items():
            model = rule.model or name
            runner = self._worker_of(rule)
            if self._accepted(runner).resolve(model) is None:
                raise UnknownModel(name, model, runner.kind)
            if rule.fallback is not None and self.resolve(rule.fallback) is None:
                raise UnknownFallback(name, rule.fallback, self.default.kind)

    def resolve(self, name: str) -> Target | None:
        """Return the target of a name, None where nobody knows it."""
        rule = self._rules.get(name)
        if rule is None:
            known = self._accepted(self.default).resolve(name)
            if known is None:
                return None
            return Target(name, self.default, known.model, known.effort)
        runner = self._worker_of(rule)
        # A worker that has learned of other models than it had at the start judges for itself.
        model = rule.model or name
        meant = self._accepted(runner).resolve(model) or models.Target(model)
        effort = rule.effort or meant.effort
        own = (rule.defaults, rule.timeouts, rule.web_search)
        return Target(name, runner, meant.model, effort, *own)

    def nobody(self, name: str) -> Target:
        """Return the target for which a request with an unknown name is read: what else is wrong
        is told first."""
        return Target(name, self.default, name)

    def route(self, name: str) -> tuple[Target, ...]:
        """Return the target of a name, and behind it all that may stand in; empty for an unknown
        name."""
        route: list[Target] = []
        next_name: str | None = name
        while next_name is not None and (target := self.resolve(next_name)) is not None:
            route.append(target)
            rule = self._rules.get(next_name)
            next_name = rule.fallback if rule is not None else None
        return tuple(route)

    def listed(self) -> tuple[str, ...]:
        """Return the names for `/v1/models`: those with a rule first, then the default
        worker's."""
        return tuple(dict.fromkeys((*self._rules, *self._accepted(self.default).listed())))

    def _worker_of(self, rule: Rule) -> worker.Worker:
        return self.default if rule.worker is None else self.workers[rule.worker]
