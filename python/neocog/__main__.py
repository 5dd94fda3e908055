"""`python -m neocog`: the command line where the `neocog` script is not on the path."""

from __future__ import annotations

import sys

from neocog.cli import main

if __name__ == "__main__":
    sys.exit(main())
