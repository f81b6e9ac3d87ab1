"""What a run shows while it goes."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich import cells, progress
from rich.console import Console

from experiments.encoding import printable
from experiments.terminal import Plain


class Progress:
    """A bar on a terminal, and lines for what is worth keeping, there or in a pipe.

    Parameters
    ----------
    console : where to show it
    steps : builds and measurements in all
    """

    def __init__(self, console: Console, steps: int) -> None:
        self._console = console
        self.bar = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(bar_width=None),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
            expand=True,
            refresh_per_second=1,  # drawing costs time that a measurement may miss
        )
        self._task = self.bar.add_task("", total=steps)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def doing(self, what: str) -> None:
        """Say what is going on; the bars of what went before are taken away."""
        for task in self.bar.task_ids:
            if task != self._task:
                self.bar.remove_task(task)
        text = cells.set_cell_size(printable(what, self._console.encoding), 36)
        self.bar.update(self._task, description=text)

    def done(self, steps: int = 1) -> None:
        """Count steps that were taken, or that never will be."""
        self.bar.advance(self._task, steps)

    def print(self, line: str, style: str = "") -> None:
        """Print a line above the bar."""
        self._console.print(Plain(line, style), soft_wrap=True)
