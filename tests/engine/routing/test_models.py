"""Every name a client may use leads to one model and one effort."""

import pytest

from engine.routing.models import ModelTable, Target

TARGETS = ("gpt-5.5", "gpt-5.6-codex")


def table(environment: str | None = None) -> ModelTable:
    return ModelTable(TARGETS, "gpt-5.5", environment)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("gpt-5.5", Target("gpt-5.5")),
        ("gpt-5.6-codex", Target("gpt-5.6-codex")),
        ("codex-5", Target("gpt-5.5")),
        ("codex-5-minimal", Target("gpt-5.5", "minimal")),
        ("codex-5-low", Target("gpt-5.5", "low")),
        ("codex-5-medium", Target("gpt-5.5", "medium")),
        ("codex-5-high", Target("gpt-5.5", "high")),
        ("codev-5", Target("gpt-5.5")),
        ("codev-5-high", Target("gpt-5.5", "high")),
    ],
)
def test_a_name_leads_to_its_target_in_every_environment(name: str, target: Target) -> None:
    for environment in (None, "dev", "staging", "prod"):
        assert table(environment).resolve(name) == target


@pytest.mark.parametrize("name", ["", "gpt-4", "codex-5-", "codex-5-huge", "GPT-5.5", "codex"])
def test_any_other_name_leads_nowhere(name: str) -> None:
    assert table().resolve(name) is None


def family(name: str) -> list[str]:
    return [name, f"{name}-minimal", f"{name}-low", f"{name}-medium", f"{name}-high"]


@pytest.mark.parametrize(
    ("environment", "aliases"),
    [
        (None, [*family("codex-5"), *family("codev-5")]),
        ("", [*family("codex-5"), *family("codev-5")]),
        ("prod", family("codex-5")),
        ("dev", family("codev-5")),
        ("staging", family("codev-5")),
    ],
)
def test_targets_are_listed_first_then_the_aliases_of_the_environment(
    environment: str | None, aliases: list[str]
) -> None:
    assert table(environment).listed() == (*TARGETS, *aliases)


def test_the_default_is_accepted_and_listed_even_if_the_worker_does_not_name_it() -> None:
    models = ModelTable(("gpt-5.6-codex",), "my-own-model", "prod")
    assert models.resolve("my-own-model") == Target("my-own-model")
    assert models.resolve("codex-5-low") == Target("my-own-model", "low")
    assert models.listed()[:2] == ("gpt-5.6-codex", "my-own-model")


def test_no_name_is_listed_twice() -> None:
    listed = table().listed()
    assert len(listed) == len(set(listed))
