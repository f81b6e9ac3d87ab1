"""How the command says what went wrong, and how it ends where it cannot go on."""

import sys
from typing import NoReturn

from experiments.encoding import printable


def complain(text: str) -> None:
    """Say something on stderr."""
    print(printable(text, sys.stderr.encoding), file=sys.stderr)


def stop(text: str, code: int = 2) -> NoReturn:
    """Say why, and end the program."""
    complain(text)
    raise SystemExit(code)
