"""`python -m isoclone` is `isoclone`."""

import sys

from isoclone.cli import main

if __name__ == "__main__":
    sys.exit(main())
