"""One table from the model a client names to the target a worker knows, and its effort."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

FAMILIES: Final = {"prod": ("codex-5",), "dev": ("codev-5",), "staging": ("codev-5",)}
"""Alias families that each environment advertises; every family is accepted everywhere."""

Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
"""A word for something that models differ in. Which words there are is for the model to say: a
new one has new words."""

Effort = Word
"""A reasoning effort, such as `low`. Source: the API's `reasoning_effort`."""

Verbosity = Word
"""How much a model says, such as `low`. Source: the API's `verbosity`."""

EFFORTS: Final = ("minimal", "low", "medium", "high")
"""Reasoning efforts an alias may end with, as in `codex-5-high`."""

SERVICE_TIERS: Final = ("flex", "scale", "priority", "fast")
"""The tiers that a turn may name; `auto` and `default` ask for nothing. Source: the API's
`service_tier`. Codex drops in silence what its catalog does not have, so these are in it."""


class Target(msgspec.Struct, frozen=True):
    """The model that a name stands for; `effort` None leaves the choice to the model."""

    model: str
    effort: str | None = None


class ModelTable:
    """The names that are accepted, and those that are listed.

    Args:
        targets: models the worker knows.
        default: what the aliases stand for.
        environment: `dev`, `staging`, `prod`, or None to advertise every family.
    """

    def __init__(self, targets: tuple[str, ...], default: str, environment: str | None) -> None:
        families = ("codex-5", "codev-5")
        self._known = {target: Target(target) for target in (*targets, default)}
        for family in families:
            self._known[family] = Target(default)
            for effort in EFFORTS:
                self._known[f"{family}-{effort}"] = Target(default, effort)
        advertised = FAMILIES.get(environment or "", families)
        self._listed = tuple(
            name
            for name in self._known
            if not name.startswith(families) or name.startswith(advertised)
        )

    def resolve(self, name: str) -> Target | None:
        """Return the target of a name, None where nobody knows it."""
        return self._known.get(name)

    def listed(self) -> tuple[str, ...]:
        """Return the names for `/v1/models`: targets first, then aliases."""
        return self._listed


class AnyModel:
    """Accepts every name, for an upstream: it judges them itself, and may know more than it
    lists."""

    def __init__(self, targets: tuple[str, ...]) -> None:
        self._targets = targets

    def resolve(self, name: str) -> Target | None:
        """Return the name itself as the target."""
        return Target(name)

    def listed(self) -> tuple[str, ...]:
        """Return the names for `/v1/models`."""
        return self._targets
