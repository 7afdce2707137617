"""The declared metrics keep Prometheus' rules; a scrape is held against them in `ops`."""

import re

from server.metrics import families
from server.metrics.families import FAMILIES, Type
from tests.support.process import serving

PAGE = serving.ROOT / "docs" / "metrics.md"


def test_each_metric_is_declared_once() -> None:
    names = [family.name for family in FAMILIES]
    assert len(names) == len(set(names))
    declared = {each for each in vars(families).values() if isinstance(each, families.Family)}
    assert declared <= set(FAMILIES)


def test_names_say_type_and_unit() -> None:
    for family in FAMILIES:
        assert re.fullmatch(r"(turntape|process)(_[a-z0-9]+)+", family.name)
        assert family.name.endswith("_total") == (family.type is Type.COUNTER), family.name
        assert bool(family.buckets) == (family.type is Type.HISTOGRAM), family.name
        assert list(family.buckets) == sorted(set(family.buckets))
        assert family.meaning


def test_times_are_told_apart_from_ten_milliseconds_to_five_minutes() -> None:
    assert (families.SECONDS[0], families.SECONDS[-1]) == (0.01, 327.68)


def test_the_page_says_what_each_label_takes() -> None:
    section = PAGE.read_text("utf-8").partition("\n## Labels\n")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| (`\w+`(?:, `\w+`)*) \|", section)
    explained = [name.strip("`") for row in rows for name in row.split(", ")]
    assert sorted(explained) == sorted({label for each in FAMILIES for label in each.labels})
