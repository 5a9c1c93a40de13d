"""`python -m isoclone`, and the command `isoclone`.

Ctrl-C is seen to before anything else is imported: importing takes a tenth of a second, and more.
`signal` itself would bring in `enum`.
"""

import _signal as signal
import os
import sys


def _end(number: int, frame: object) -> None:
    """End at once and quietly: nothing has been begun, or everything is done."""
    os.write(2, b"isoclone: stopped; the same command goes on from here\n")
    os._exit(130)


def _hear() -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _end)


def main() -> int:
    """Run the command line and return the exit code."""
    from isoclone.cli import main as carry_out

    code = carry_out()
    _hear()
    return code


_hear()
if __name__ == "__main__":
    sys.exit(main())
