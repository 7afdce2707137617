"""Entry point of the installed wheel."""

import sys


def main() -> None:
    """Run the command line from the private tree inside this wheel; does not return."""
    # By hand: pathlib takes longer to load than a signal needs to come.
    sys.path.insert(0, f"{__file__.rpartition('/')[0]}/_app")
    from server import program

    program.run()
