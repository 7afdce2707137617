"""The results of a comparison as a table, and the page they are written to."""

from bench import budgets, compare, load, rivals, standin


def report(cpu_us: float, p99: float | None = None) -> load.Report:
    """What one side of a round measured."""
    latency = {} if p99 is None else {"p50": p99 / 10, "p99": p99}
    return load.Report(
        outcomes={"done": 1},
        chunks=1,
        seconds=1.0,
        ttft_ms={},
        latency_ms=latency,
        cpu_us=cpu_us,
    )


def test_a_row_tells_medians_and_what_is_required() -> None:
    measured = [
        rivals.Round(report(2.0, 1.0), report(4.0, 10.0)),
        rivals.Round(report(3.0, 2.0), report(3.0, 20.0)),
        rivals.Round(report(9.0, 3.0), report(90.0, 30.0)),
    ]
    comparison = compare.Comparison("20 ms", rivals.Case(64, standin.Turn()), 0.6)
    row = compare.row(comparison, measured)
    assert row == ["20 ms", "64", "3.00", "4.00", "0.50 (≤ 0.6)", "0.20", "2.00", "2.00", "20.00"]


def test_a_row_without_stamps_has_no_latencies() -> None:
    comparison = compare.Comparison("flood", rivals.Case(1, standin.Turn()), None)
    row = compare.row(comparison, [rivals.Round(report(1.0), report(10.0))])
    assert row == ["flood", "1", "1.00", "10.00", "0.10", "", "", "", ""]


def test_a_table_has_a_cell_for_each_heading() -> None:
    lines = compare.table([[""] * len(compare.HEADINGS)]).splitlines()
    assert {line.count("|") for line in lines} == {len(compare.HEADINGS) + 1}


def test_every_comparison_is_held_against_the_budgets() -> None:
    limits = {each.limit for each in compare.comparisons()} - {None}
    assert limits == set(budgets.load()["relay"].values())


def test_new_results_replace_the_old_and_nothing_else() -> None:
    begin, end = compare.MARKS
    page = f"before\n{begin}\n\nold\n\n{end}\nafter\n"
    assert compare.rewritten(page, "new") == page.replace("old", "new")


def test_the_page_has_a_place_for_the_results() -> None:
    page = compare.PAGE.read_text("utf-8")
    assert [page.count(mark) for mark in compare.MARKS] == [1, 1]
