"""Labels have a vocabulary of the server's own, whatever comes in."""

from collections.abc import Callable

import pytest

from server.metrics import labels


@pytest.mark.parametrize(
    ("label", "known", "given"),
    [
        (labels.method, "POST", "PROPFIND"),
        (labels.code, "invalid_json", "no credit left on 4711"),
        (labels.reason, "tool_calls", "fini"),
        (labels.word, "end_turn", "x" * 100_000),
    ],
)
def test_what_is_not_known_is_other(label: Callable[[str], str], known: str, given: str) -> None:
    assert label(known) == known
    assert label(given) == labels.OTHER


def test_what_was_not_said_is_not_other() -> None:
    assert (labels.code(None), labels.reason(None), labels.word(None)) == ("", "none", "")


def test_a_worker_may_write_its_words_as_it_likes() -> None:
    assert labels.word("MAX_TOKENS") == "max_tokens"


def test_a_status_is_a_class() -> None:
    assert [labels.status(each) for each in (200, 404, 504, 0, 1000)] == [
        *("2xx", "4xx", "5xx"),
        *(labels.OTHER, labels.OTHER),
    ]


class Listing:
    """Names of models, and how often they were asked for."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.asked = 0

    def listed(self) -> tuple[str, ...]:
        self.asked += 1
        return self.names


def test_only_models_that_are_listed_are_labels() -> None:
    models = labels.ModelLabels(Listing("a", "b").listed)
    assert [models.label(name, 0) for name in ("a", "b", "c")] == ["a", "b", labels.OTHER]


def test_names_that_are_made_up_have_nothing_listed_for_each() -> None:
    listing = Listing("a")
    models = labels.ModelLabels(listing.listed)
    for number in range(1000):
        assert models.label(f"made up {number}", number / 1000) == labels.OTHER
    assert listing.asked == 1


def test_a_model_that_is_learned_of_late_has_a_label_soon() -> None:
    listing = Listing()
    models = labels.ModelLabels(listing.listed)
    assert models.label("late", 0) == labels.OTHER
    listing.names = ("late",)
    assert models.label("late", labels.LISTED_S) == "late"


def test_an_upstream_with_thousands_of_models_has_a_hundred_labels() -> None:
    names = [f"model-{number}" for number in range(5000)]
    models = labels.ModelLabels(Listing(*names).listed)
    found = {models.label(name, 0) for name in names}
    assert found == {*names[: labels.MOST_MODELS], labels.OTHER}


def test_a_name_that_is_too_long_is_no_label() -> None:
    name = "m" * (labels.MODEL_CHARACTERS + 1)
    assert labels.ModelLabels(Listing(name).listed).label(name, 0) == labels.OTHER
