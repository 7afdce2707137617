"""`python -m server`: the command line, from a checkout."""

import sys

from server.cli import main

sys.exit(main())
