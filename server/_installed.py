"""Entry point of the installed wheel."""

import sys
from pathlib import Path


def main() -> int:
    """Run the command line from the private tree inside this wheel."""
    sys.path.insert(0, str(Path(__file__).parent / "_app"))
    from server.cli import main as run

    return run()
