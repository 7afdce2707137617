"""The page of the simulator names what its command takes, and how a plan is to be read."""

import re

import pytest

from tests.simulator import __main__ as command, draw, plan, run, shrink
from tests.support.process.serving import ROOT

PAGE = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")


def test_every_option_is_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert options
    assert {option for option in options if option not in PAGE} == set()


def test_the_numbers_of_innocents_and_of_the_defect_are_those_of_plans() -> None:
    assert f"From {plan.INNOCENT} on they are innocents, and {plan.DEFECT} is" in PAGE
    described = run.describe(draw.plan_of(17, "codex"))
    assert re.search(rf"^ ?{plan.DEFECT} Defect\(at=", described, re.MULTILINE)
    assert re.search(rf"^{plan.INNOCENT} Visit\(at=", described, re.MULTILINE)


@pytest.mark.parametrize("of", plan.WORLDS)
def test_a_visit_says_what_its_worker_answers(of: str) -> None:
    described = run.describe(draw.plan_of(17, of))
    assert ("turns=(Script(" in described) == (of == "codex")
    assert "`turns` for Codex, `answered` for an upstream" in PAGE


def test_the_example_of_a_report_has_its_form() -> None:
    drawn = draw.plan_of(1789, "codex").only({0})
    first, second, third = shrink.report(drawn, ["step 0: an answer was cut off"]).splitlines()
    example = PAGE.partition("is printed:")[2]
    assert f"    {first}\n    {second}\n" in example
    assert f"    {third.partition(' --steps')[0]} --steps 0,6\n" in example


def test_every_step_of_a_plan_has_its_row() -> None:
    tags = {kind.__struct_config__.tag for kind in plan.Step.__args__}
    rows = set(re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\| .*? \|", PAGE, re.MULTILINE))))
    assert tags <= rows
