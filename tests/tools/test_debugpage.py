"""What the commands on the pages print is what the pages have."""

from tests.tools import debugpage


def test_the_pages_are_current() -> None:
    assert debugpage.main(["--check"]) == 0, "run `python -m tests.tools.debugpage`"


def test_a_change_is_noticed() -> None:
    page = debugpage.PAGE.read_text(encoding="utf-8")
    assert debugpage.put(page.replace("```text\n$", "```text\nold\n$")) == page
    assert page.count("$ turntape ") == page.count("<!-- shown: ") > 3


def test_no_line_is_wider_than_a_terminal_but_the_clients_bytes() -> None:
    for line in ("show --log transcripts worker-killed", "diff --log transcripts empty text-long"):
        _, *printed = debugpage.shown(line).splitlines()
        assert max(map(len, printed)) <= 80
