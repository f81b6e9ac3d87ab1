"""The table of a runbook that was played."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from experiments.percentiles import too_few
from experiments.streaming.play import Line
from experiments.terminal import Plain, Table, stack

if TYPE_CHECKING:
    from rich.console import Group

_NUMBERS = ("live", "s", "@1", "@5", "@10", "p50", "p95", "p99")


def tables(lines: Sequence[Line]) -> Iterator[Group]:
    """Yield a table for each index of each dataset."""
    for dataset, label in dict.fromkeys((line.dataset, line.label) for line in lines):
        own = [line for line in lines if (line.dataset, line.label) == (dataset, label)]
        deletes = next((line.deletes for line in own if line.deletes), "none")
        title = Plain(f"{label} on {dataset}", "bold")
        note = f"deleted vectors: {deletes}; recall@k; µs of single queries, one thread"
        note = "; ".join(filter(None, [note, too_few(own[0].nq)]))
        table = Table()
        table.add_column("step", overflow="fold")
        for name in _NUMBERS:
            table.add_column(name, justify="right", no_wrap=True)
        for line in own:
            table.add_row(*_cells(line))
        yield stack(title, table, note)


def _cells(line: Line) -> list[str]:
    recalls = (line.recall_at_1, line.recall_at_5, line.recall_at_10)
    latencies = (line.p50_us, line.p95_us, line.p99_us)
    return [
        f"{line.step} {line.operation} {_what(line)}",
        f"{line.live:,}",
        _number(line.step_s, ".2f"),
        *(_number(value, ".3f") for value in recalls),
        *(_number(value, ".0f") for value in latencies),
    ]


def _what(line: Line) -> str:
    """Return what a step is about: how many vectors, the setting, or what failed."""
    if line.status != "ok":
        return line.status
    params = json.loads(line.search_params or "{}")
    setting = " ".join(f"{name}={value}" for name, value in params.items())
    return f"{line.points:,}" if line.points else setting


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
