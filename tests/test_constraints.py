"""`constraints.txt` has one version of all that Turntape needs, and none that it would refuse."""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

AGAIN = "run `.ci/constraints`"


def constraints() -> dict[str, Version]:
    """The version of each package."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    wanted = [Requirement(line) for line in lines]
    versions: dict[str, Version] = {
        canonicalize_name(each.name): Version(str(each.specifier).removeprefix("=="))
        for each in wanted
    }
    assert len(versions) == len(lines), "a package has two versions"
    return versions


def required() -> Iterator[Requirement]:
    """What Turntape and its extras ask for; those of its tests stay out."""
    extras = PROJECT["optional-dependencies"]
    shipped = [line for name, lines in extras.items() if name != "test" for line in lines]
    yield from map(Requirement, (*PROJECT["dependencies"], *shipped))


def test_it_has_a_version_of_each_requirement_that_is_allowed() -> None:
    versions = constraints()
    for each in required():
        found = versions.get(canonicalize_name(each.name))
        assert found is not None, f"{each.name}: {AGAIN}"
        assert found in each.specifier, f"{each}, not {found}: {AGAIN}"


def test_it_has_what_these_require_in_turn_and_nothing_else() -> None:
    """As far as the packages that are installed here tell, which may be of other versions."""
    versions, reached = constraints(), set[str]()
    waiting = list(required())
    while waiting:
        each = waiting.pop()
        name = canonicalize_name(each.name)
        if name in reached or (
            each.marker is not None and not each.marker.evaluate({"extra": ""})
        ):
            continue
        reached.add(name)
        assert name in versions, f"{name}: {AGAIN}"
        waiting += map(Requirement, importlib.metadata.requires(name) or ())
    left = versions.keys() - reached
    assert not left - ELSEWHERE, f"{left}: {AGAIN}"


ELSEWHERE: set[str] = set()
"""What another version of a package, or of Python, needs."""


def test_every_extra_is_on_the_page_of_the_installation() -> None:
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"(?m)^\| `(\w+)` \|", page))
    assert listed == PROJECT["optional-dependencies"].keys() - {"test"}
    assert listed == set(re.findall(r"--extra (\w+)", (ROOT / ".ci/constraints").read_text()))
