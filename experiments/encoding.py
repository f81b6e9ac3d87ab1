"""Text in whatever encoding a terminal or a file has.

What users write, such as labels, names and paths, holds any character. A terminal may
not: where its encoding lacks one, the tables' own signs get an ASCII spelling, and all
others their escape, so that two labels that differ still differ. Characters that would
steer the terminal rather than show are escaped everywhere.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
from pathlib import Path

ERRORS = "experiments.ascii"  # the error handler's name
LONGEST_NAME = 150  # bytes of a part of a file's name; most systems allow 255 in all
_ASCII = str.maketrans(
    {
        **{"–": "-", "−": "-", "×": "x", "µ": "u", "·": ".", "…": "...", "√": "sqrt"},
        **{"≤": "<=", "≥": ">=", "≈": "~=", "✖": "x", "▲": "!"},
        **dict(zip("▁▂▃▄▅▆▇█", "12345678", strict=True)),
    }
)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as that of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Control characters but tab and newline, separators of lines, and what turns the
# direction of all the text behind it.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def visible(text: str) -> str:
    """Return a text with the characters escaped that steer a terminal."""
    return _STEERING.sub(lambda found: escaped(found[0]), text)


def printable(text: str, encoding: str | None) -> str:
    """Return a text as a terminal of some encoding can show it."""
    name = encoding or "utf-8"
    return visible(text).encode(name, ERRORS).decode(name)


def set_up() -> None:
    """Let stdout and stderr take any text, whatever their encoding."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)


def read_text(path: Path) -> str:
    """Return a text in UTF-8, or in the encoding that its byte order mark names.

    Raises
    ------
    ValueError
        When it is in another encoding; says where that shows.
    """
    raw = path.read_bytes()
    name = marked(raw)
    if name is None and b"\x00" in raw:
        raise ValueError(
            "must be text in UTF-8, got a zero byte: it is UTF-16 without a byte order "
            "mark, or no text"
        )
    try:
        text = raw.decode(name or "utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        byte = f"the byte {raw[error.start]:#04x} in line {line}"
        raise ValueError(
            f"must be text in {name or 'UTF-8'}, got {byte}: save it as UTF-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def marked(beginning: bytes) -> str | None:
    """Return the encoding that a byte order mark names, None without one."""
    return next((name for mark, name in _MARKS if beginning.startswith(mark)), None)


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8; bytes of a path that are not stand as escapes of JSON."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def file_name(text: str) -> str:
    """Return a text as part of a file's name, on any system; two may become one."""
    name = re.sub(r"[^\w.-]+", "-", text)
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    whole = name.strip("-.").encode()
    return whole[:LONGEST_NAME].decode("utf-8", "ignore")


def check_name(path: Path) -> None:
    """Raise ValueError where the system cannot have a file of that name."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{path} cannot be a name where names are in {error.encoding}: "
            "set PYTHONUTF8=1"
        ) from None


def escaped(text: str) -> str:
    """Return a text with every character beyond ASCII, and controls, as escapes."""
    return text.encode("unicode_escape").decode("ascii")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Replace what cannot be encoded; a handler of errors, see `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return escaped(lacking.translate(_ASCII)), error.end


codecs.register_error(ERRORS, _in_ascii)
