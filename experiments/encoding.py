"""Text in whatever encoding a terminal or a file has.

What users write, such as labels, names and paths, holds any character. A terminal may
not: where its encoding lacks one, the tables' own signs get an ASCII spelling, and all
others their escape, so that two labels that differ still differ. Characters that would
steer the terminal rather than show are escaped everywhere.
"""

from __future__ import annotations

import codecs
import io
import re
import sys

ERRORS = "experiments.ascii"  # the error handler's name
_ASCII = str.maketrans(
    {
        **{"–": "-", "−": "-", "×": "x", "µ": "u", "·": ".", "…": "...", "√": "sqrt"},
        **{"≤": "<=", "≥": ">=", "≈": "~=", "✖": "x", "▲": "!"},
        **dict(zip("▁▂▃▄▅▆▇█", "12345678", strict=True)),
    }
)
# Control characters but tab and newline, separators of lines, and what turns the
# direction of all the text behind it.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def visible(text: str) -> str:
    """Return a text with the characters escaped that steer a terminal."""
    return _STEERING.sub(lambda found: _escaped(found[0]), text)


def printable(text: str, encoding: str | None) -> str:
    """Return a text as a terminal of some encoding can show it."""
    name = encoding or "utf-8"
    return visible(text).encode(name, ERRORS).decode(name)


def set_up() -> None:
    """Let stdout and stderr take any text, whatever their encoding."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)


def _escaped(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Replace what cannot be encoded; a handler of errors, see `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return _escaped(lacking.translate(_ASCII)), error.end


codecs.register_error(ERRORS, _in_ascii)
