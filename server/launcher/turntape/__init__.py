"""The one importable name of the wheel: starts the program, and has the plugin for pytest.

Nothing of the private tree is imported here but by `main`, which runs in a process of its own.
"""

import os
import sys


def main() -> None:
    """Run the command line from the private tree inside this wheel; does not return."""
    here = os.path.dirname(__file__)  # noqa: PTH120 - a signal may come before pathlib is loaded
    sys.path.insert(0, f"{here}{os.sep}_app")
    from server import program

    program.run()
