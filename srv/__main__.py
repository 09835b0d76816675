"""`python -m srv` is `zonekeeper`."""

import sys

from srv.cli import main

if __name__ == "__main__":
    sys.exit(main())
