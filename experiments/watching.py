"""What a monitor has written down, in a terminal."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.live import Live

from ann.monitor import opened, page
from experiments.terminal import Plain, Table, stack

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console, RenderableType

    from ann.monitor import Report

REFRESH_S = 2.0
_BARS = "▁▂▃▄▅▆▇█"


def watch(path: Path, console: Console, once: bool) -> None:
    """Show a monitor's file, and go on showing it until Ctrl-C unless ``once``.

    Raises
    ------
    ValueError, OSError
        There is no such file, or it is something else.
    """
    view = shown(opened(path).report())
    if once:
        console.print(view)
        return
    with (
        suppress(KeyboardInterrupt),
        Live(view, console=console, auto_refresh=False) as live,
    ):
        while True:
            time.sleep(REFRESH_S)
            live.update(shown(opened(path).report()), refresh=True)


def shown(report: Report) -> RenderableType:
    """Return how things are, to be printed."""
    state = Plain("nothing to report", "green")
    if report.standing:
        state = Plain("alert: " + ", ".join(report.standing), "bold red")
    recall = f"recall@{report.k}  {page.told(report)}"
    if report.history:
        recall += "\n" + spark(report.history)
    table = Table()
    for head in page.HEADS:
        table.add_column(head, justify="right" if head != page.HEADS[0] else "left")
    for row in page.rows(report):
        table.add_row(*row)
    counts = ", ".join(f"{value:,} {name}" for name, value in report.counts.items())
    seen = f"{report.queries:,} queries, {report.checked:,} checked, {counts}"
    last = [f"! {alert.sentence}" for alert in report.alerts[-5:]]
    return stack(state, recall, table, Plain(seen, "dim"), *last)


def spark(values: tuple[float, ...]) -> str:
    """Return values of 0 to 1 as a line of bars."""
    return "".join(_BARS[min(7, int(8 * value))] for value in values)
