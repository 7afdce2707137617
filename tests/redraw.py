"""Draws the machines into their page: `python -m tests.redraw`."""

from pathlib import Path

from machines import drawing, lifecycle, stream, supervisor

PAGE = Path(__file__).parents[1] / "docs" / "machines.md"

TABLES = (stream.TABLE, supervisor.TABLE, lifecycle.TABLE)
"""Every machine that is declared, in the order of the page."""


def main() -> None:
    """Write the page with every block drawn anew."""
    PAGE.write_text(drawing.redraw(PAGE.read_text(encoding="utf-8"), TABLES), encoding="utf-8")


if __name__ == "__main__":
    main()
