"""What is offered in place of an id that is not found."""

import pytest

from engine.log.find import names

IDS = ("st_5e1f9ab0", "st_5e1fffff", "st_77777777", "req_0a1b2c3d", "mine", "chatcmpl-5e1f9ab0")


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("st_5e1f9ab1", "st_5e1f9ab0"),  # the last character is wrong
        ("t_5e1f9ab0", "st_5e1f9ab0"),  # the first was not copied
        ("0a1b2c", "req_0a1b2c3d"),  # the middle alone
        ("req_0a1b2cXX", "req_0a1b2c3d"),
    ],
)
def test_an_id_that_comes_close_is_near(name: str, first: str) -> None:
    assert names.near(name, IDS)[0] == first


@pytest.mark.parametrize("name", ["st_zzzzzzzz", "", "st_", "x"])
def test_what_shares_no_more_than_its_kind_is_not(name: str) -> None:
    assert names.near(name, IDS) == ()


def test_no_more_are_offered_than_one_can_read() -> None:
    assert len(names.near("st_5e1f", [f"st_5e1f{n:04}" for n in range(50)])) == names.NEAR_MOST


def test_a_beginning_is_as_short_as_it_can_be_pasted() -> None:
    short = names.prefixes(["st_5e1f0000", "st_5e1f0900", "st_77777777"], 5)
    assert short == {
        "st_5e1f0000": "st_5e1f00",
        "st_5e1f0900": "st_5e1f09",
        "st_77777777": "st_77",
    }
