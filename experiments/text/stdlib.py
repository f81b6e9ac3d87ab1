"""One-line summaries of Python's own standard library, of the Python that runs this.

Each is the first sentence of a module's docstring, without the module's name where the
docstring begins with it. Sources are parsed, and not run. Modules without a source are
compiled ones; these are imported, by another process that is thrown away.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

# Programs, tests and tables; what they contain is not called from elsewhere.
_NOT_MODULES = {
    "distutils", "encodings", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test",
    "turtledemo",
}  # fmt: skip
_CHILD_S = 120  # usually 0.1
_ASK = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.import_module(name).__doc__
    except ImportError:
        pass
print(json.dumps(found))
"""


class Library(NamedTuple):
    """What was found: a summary by module, and modules that have none."""

    summaries: dict[str, str]
    without: list[str]


def gather() -> Library:
    """Return the summaries of all public modules, in alphabetical order.

    Raises
    ------
    OSError
        The sources of the library are not where Python says.
    """
    home = Path(sysconfig.get_path("stdlib"))
    names = [
        name
        for name in sorted(sys.stdlib_module_names)
        if not name.startswith("_") and name not in _NOT_MODULES
    ]
    sources = dict(source for name in names for source in _sources(home, name))
    if not sources:
        raise OSError(f"{home}: must hold the sources of Python's library, got none")
    found = {name: _parsed(path) for name, path in sources.items()}
    found |= _compiled([name for name in names if name not in sources])
    summaries = {name: summary(found[name] or "", name) for name in sorted(found)}
    return Library(
        {name: text for name, text in summaries.items() if text},
        [name for name, text in summaries.items() if not text],
    )


def write(library: Library, path: Path) -> None:
    """Write one module a line: its name, a tab, its summary."""
    from experiments.datasets.cache import atomic

    lines = (f"{name}\t{text}\n" for name, text in library.summaries.items())
    with atomic(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def _sources(home: Path, name: str) -> Iterator[tuple[str, Path]]:
    """Yield the module of that name, and the public ones within it."""
    single, package = home / f"{name}.py", home / name
    if single.is_file():
        yield name, single
    elif (package / "__init__.py").is_file():
        for path in sorted(package.rglob("*.py")):
            parts = path.relative_to(home).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            inner = parts[1:]
            if not any(part.startswith(("_", "test")) for part in inner):
                yield ".".join(parts), path


def _parsed(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(path.read_bytes()))


def _compiled(names: Sequence[str]) -> dict[str, str | None]:
    """Ask another process for the docstrings of modules without a source."""
    child = subprocess.run(
        [sys.executable, "-I", "-c", _ASK, *names],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_CHILD_S,
        check=True,
    )
    found: dict[str, str | None] = json.loads(child.stdout)
    return found


def summary(docstring: str, name: str) -> str:
    r"""Return the first sentence of a docstring that says more than the name.

    >>> summary("heaps\n=====\n\nheaps -- Heap queues. And more.", "heaps")
    'Heap queues.'
    """
    last = name.rpartition(".")[2]
    own = rf"(?:{re.escape(name)}|{re.escape(last)})(?:\.py)?"
    title = rf"^(?:the\s+)?(?:module\s+)?{own}(?:\s+module)?"
    leading = re.compile(rf"{title}(?:\s*:|\s+--?(?=\s)|\s*$)\s*", re.IGNORECASE)
    for paragraph in re.split(r"\n\s*\n", docstring):
        worded = [line for line in paragraph.splitlines() if re.search(r"\w", line)]
        text = leading.sub("", " ".join(" ".join(worded).split()), count=1)
        sentence = re.split(r"(?<=[.!?])\s+(?=[A-Z])", text, maxsplit=1)[0]
        if len(re.findall(r"\w+", sentence)) > 1:
            return sentence
    return ""
