"""Entry point of the installed wheel."""

import os
import sys


def main() -> None:
    """Run the command line from the private tree inside this wheel; does not return."""
    here = os.path.dirname(__file__)  # noqa: PTH120 - a signal may come before pathlib is loaded
    sys.path.insert(0, f"{here}{os.sep}_app")
    from server import program

    program.run()
