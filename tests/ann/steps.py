"""Stop at every step of a call: each line of the library's Python that it runs."""

import linecache
import sys
from pathlib import Path

import ann

_HOME = str(Path(ann.__file__).parent)


def walk(call, visit):
    """Run ``call()``, and ``visit(step)`` before each line of ``ann``; count the lines.

    What ``visit`` raises is raised by that line, as an interrupt or a full memory would
    be. What another thread could see between two lines, ``visit`` sees too. Compiled
    kernels have no lines, and the ``with`` of a block that ends is passed over: CPython
    lets no interrupt in before ``__exit__`` has run.
    """
    step = 0

    def line(frame, event, _):
        nonlocal step
        if event == "line" and not _text(frame).startswith("with "):
            step += 1
            visit(step)
        return line

    def enter(frame, _event, _):
        name = frame.f_code.co_filename
        return line if name.startswith(_HOME) and "kernels" not in name else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        call()
    finally:
        sys.settrace(before)
    return step


def _text(frame):
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip()
