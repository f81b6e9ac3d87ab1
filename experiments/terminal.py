"""What the commands print to: a console, and what users' words are printed as."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import rich.console
import rich.table
from rich import box
from rich.measure import Measurement
from rich.text import Text

from experiments import encoding


class Console(rich.console.Console):
    """A console that takes a string for text, not for markup or emoji codes."""

    def __init__(self, **options: Any) -> None:
        encoding.set_up()
        super().__init__(markup=False, emoji=False, highlight=False, **options)


class Plain:
    """A string that is shown as it is, on any console.

    It is brought into the console's encoding before it is laid out, so that the columns
    of a table stay in line.
    """

    def __init__(self, text: str, style: str = "") -> None:
        self.text, self.style = text, style

    def __str__(self) -> str:
        return self.text

    def __rich_console__(
        self, console: rich.console.Console, options: rich.console.ConsoleOptions
    ) -> Iterator[Text]:
        yield self._on(console)

    def __rich_measure__(
        self, console: rich.console.Console, options: rich.console.ConsoleOptions
    ) -> Measurement:
        return Measurement.get(console, options, self._on(console))

    def _on(self, console: rich.console.Console) -> Text:
        return Text(encoding.printable(self.text, console.encoding), self.style)


def stack(*parts: Any) -> rich.console.Group:
    """Return strings and tables as one, below each other."""
    return rich.console.Group(*map(_plain, parts))


class _Head(box.Box):
    def substitute(
        self, options: rich.console.ConsoleOptions, safe: bool = True
    ) -> box.Box:
        """Return the same in ASCII where the terminal has no more."""
        return _ASCII_HEAD if options.ascii_only else super().substitute(options, safe)


_HEAD = _Head(str(box.SIMPLE_HEAD))
_ASCII_HEAD = box.Box(str(box.SIMPLE_HEAD).replace("─", "-"), ascii=True)


class Table(rich.table.Table):
    """A table of plain strings, with a line below its head."""

    def __init__(
        self, *, box: box.Box | None = _HEAD, pad_edge: bool = False, **look: Any
    ) -> None:
        super().__init__(box=box, pad_edge=pad_edge, **look)

    def add_column(self, header: Any = "", *more: Any, **look: Any) -> None:
        """Add a column; see rich."""
        super().add_column(_plain(header), *more, **look)

    def add_row(self, *cells: Any, **look: Any) -> None:
        """Add a row; see rich."""
        super().add_row(*map(_plain, cells), **look)


def _plain(part: Any) -> Any:
    return Plain(part) if isinstance(part, str) else part
