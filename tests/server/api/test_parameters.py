"""Numbers of a request become attributes; what is no number of that kind is left out."""

from typing import Any

import msgspec
import pytest

from server.api import parameters


def of(**members: Any) -> dict[str, int | float]:
    return parameters.of({name: msgspec.Raw(text.encode()) for name, text in members.items()})


def test_each_member_has_its_attribute() -> None:
    assert of(temperature="1", top_p="0.5", seed="7", max_output_tokens="9") == {
        "gen_ai.request.temperature": 1.0,
        "gen_ai.request.top_p": 0.5,
        "gen_ai.request.seed": 7,
        "gen_ai.request.max_tokens": 9,
    }
    assert isinstance(of(temperature="1")["gen_ai.request.temperature"], float)


def test_the_newer_limit_of_tokens_counts() -> None:
    both = of(max_tokens="1", max_completion_tokens="2")
    assert both == {"gen_ai.request.max_tokens": 2}


@pytest.mark.parametrize(
    "text", ["null", '"secret"', "true", "[1]", "{}", "1.5", "9" * 31, "1" + " " * 40]
)
def test_what_is_no_whole_number_is_no_seed(text: str) -> None:
    assert of(seed=text) == {}


def test_other_members_are_not_looked_at() -> None:
    assert of(stop='"secret"', user="1", messages="[]") == {}
