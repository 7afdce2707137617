"""`Retry-After`: what is understood, and that nothing else does any harm."""

import os
import random
import time

import pytest

from engine.upstream import retryafter

NOW = 784111777.0 - 60
"""A minute before the date that RFC 9110 gives as its example."""


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("999999999", 999_999_999),
        ("12345678901", 999_999_999),
        ("9" * 64, 999_999_999),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 60),
        ("sun, 06 nov 1994 08:49:37 gmt", 60),
        ("Sun, 06 Nov 1994 08:49:37 +0000", 60),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 60),
        ("Sun Nov  6 08:49:37 1994", 60),
        ("Sun, 06 Nov 1994 08:48:37 GMT", 0),
        ("Sun, 06 Nov 1993 08:49:37 GMT", 0),
        ("Sunday, 06-Nov-50 08:49:37 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:60 GMT", 999_999_999),
        ("Mon, 01 Jan 0001 00:00:00 GMT", 0),
    ],
)
def test_seconds_and_dates_are_understood(value: str, seconds: float) -> None:
    assert retryafter.seconds(value, NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "-1",
        "1.5",
        "1e400",
        "nan",
        "inf",
        "\u0663",  # an Arabic digit
        "\u00b2",  # a raised two
        "9" * 65,
        "9" * 5000,
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
        "Mon, 01 Jan 2024 00:00:00 +9999",
        "Mon, 01 Jan 0000 00:00:00 GMT",
        "Mon, 31 Feb 2024 00:00:00 GMT",
        "Mon, 01 Xyz 2024 00:00:00 GMT",
        "Mon, 01 Jan 2024 24:00:00 GMT",
        "Mon, 01 Jan 2024 99:99:99 GMT",
        "Mon, 01 Jan 99999999999 00:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:00",
        "Mon, 01 Jan 2024 00:00:00 GMT, 120",
        "Mon, 0\u0661 Jan 2024 00:00:00 GMT",
    ],
)
def test_everything_else_says_nothing(value: str) -> None:
    assert retryafter.seconds(value, NOW) is None


def test_a_date_does_not_depend_on_the_zone_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    try:
        monkeypatch.setitem(os.environ, "TZ", "America/New_York")
        time.tzset()
        assert retryafter.seconds("Sun Nov  6 08:49:37 1994", NOW) == 60
    finally:
        monkeypatch.undo()
        time.tzset()


def test_no_text_raises_anything() -> None:
    seed = random.Random(1)
    good = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT"]
    good.append("Sun Nov  6 08:49:37 1994")
    alphabet = "0123456789:,-+ JanGMT\x00\u0661\ud800"
    for _ in range(20_000):
        text = list(seed.choice(good))
        for _ in range(seed.randrange(1, 6)):
            text[seed.randrange(len(text))] = seed.choice(alphabet) * seed.choice((0, 1, 1, 20))
        found = retryafter.seconds("".join(text), NOW)
        assert found is None or 0 <= found <= retryafter.MOST_S
