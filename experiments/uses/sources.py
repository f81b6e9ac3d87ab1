"""Text that every machine with this package has: sources of Python and of libraries."""

from __future__ import annotations

import ast
import importlib.util
import re
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

LIBRARIES = ("matplotlib", "numpy", "scipy", "sklearn")

_LEFT_OUT = {
    "__pycache__", "dist-packages", "idlelib", "lib2to3", "site-packages", "test",
    "tests", "turtledemo",
}  # fmt: skip
_PROSE = re.compile(r'"""(.*?)"""', re.DOTALL)


def modules(libraries: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield name and source of all modules of Python's library, then of others.

    Tests are left out, and so are programs. Nothing is run.
    """
    home = Path(sysconfig.get_path("stdlib"))
    yield from _within(home, home)
    for library in libraries:
        spec = importlib.util.find_spec(library)
        for place in (spec and spec.submodule_search_locations) or ():
            yield from _within(Path(place), Path(place).parent)


def _within(folder: Path, home: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(home).with_suffix("").parts
        if not _LEFT_OUT.intersection(parts):
            name = ".".join(parts).removesuffix(".__init__")
            yield name, path.read_text(encoding="utf-8", errors="replace")


def described() -> Iterator[tuple[str, str]]:
    """Yield the functions of Python's library that have a docstring, and these."""
    for module, source in modules():
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text:
                    yield f"{module}.{node.name}", " ".join(text.split())


def prose(libraries: Sequence[str] = LIBRARIES) -> Iterator[str]:
    """Yield what stands between triple quotes: documentation, for the most part."""
    for _, source in modules(libraries):
        yield from _PROSE.findall(source)
