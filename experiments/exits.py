"""How the command ends where it cannot go on."""

import sys
from typing import NoReturn


def stop(text: str, code: int = 2) -> NoReturn:
    """Say why, and end the program."""
    print(text, file=sys.stderr)
    raise SystemExit(code)
