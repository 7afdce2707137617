"""Makes a failing plan smaller, and says how to run what is left."""

from tests.simulator import plan, run


def numbers(text: str) -> set[int]:
    """The steps that a text such as `0,2-4` names."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def smallest(failing: plan.Plan) -> plan.Plan:
    """The plan without every step that it fails without as well."""
    kept = failing
    for number, _ in reversed(failing.everything):
        fewer = kept.only({each for each, _ in kept.everything} - {number})
        if fewer.everything and run.run(fewer).wrong:
            kept = fewer
    return kept


def report(failing: plan.Plan, wrong: list[str]) -> str:
    """What is wrong, and the one command that shows it again."""
    small = smallest(failing)
    steps = ",".join(str(number) for number, _ in small.everything) or "''"
    lines = [f"seed {failing.seed}: {len(wrong)} rules broken"]
    lines += [f"  {each}" for each in wrong[:5]]
    again = f"--world {failing.world} --seed {failing.seed} --steps {steps}"
    lines.append(f"  python -m tests.simulator {again}")
    return "\n".join(lines)
