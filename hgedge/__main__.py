"""`python -m hgedge`."""

import sys

from hgedge.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
