"""Tables of the studies of trust, for the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from rich.console import Group as Stack

from experiments.percentiles import common, remarks, words
from experiments.terminal import Table, stack
from experiments.trust import churn, hostile
from experiments.trust.filtering import PREPARED
from experiments.trust.filters import EXACT, RANDOM
from experiments.trust.hostile import SHUFFLED
from experiments.trust.subject import Subject

if TYPE_CHECKING:
    from experiments.trust import filters

L = TypeVar("L", bound=Subject)

_CHURN = (
    "recall@10 of one batch: of the fresh build that all rounds began with, and of "
    "another at the end; the least after a round, and after the last. memory ×: the "
    "greatest size of the index over that of the fresh build. Seconds: to remove and "
    "to add again, medians over rounds; to build."
)
_FILTERS = (
    "In each cell: recall@10; {p50} of one query on one thread, the whole call; and "
    "how many times that of exact search of nothing but what passes, set up beforehand "
    "and measured in turns, it is."
)
_FORMS = (
    "As users have them, not made ready before: a mask, ids, a function of all ids. × "
    "exact: as above; filter µs: what of the call goes into making positions of it."
)
_HOSTILE = (
    "In each cell: recall@10, by distance, and its change in points from the shuffled "
    "data at the same setting."
)


def churned(lines: Sequence[churn.Line]) -> Iterator[Stack]:
    """Yield the table of one data set's churn."""
    measured = [line for line in lines if line.recall_at_10 is not None]
    if not measured:
        return
    table = _table("index, setting")
    heads = "fresh,\nagain", "least,\nlast", "memory\n×", "remove,\nadd s", "build\ns"
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for name, own in _by(measured, lambda line: line.name):
        table.add_row(name, *_churn_cells(own))
    last = max(line.round for line in measured)
    share = max(line.removed for line in measured) / measured[0].n
    title = f"{last} rounds, {share:.0%} removed and added again in each"
    yield stack(_title(measured[0], title), table, _CHURN, _audits(measured))


def _churn_cells(lines: Sequence[churn.Line]) -> Iterator[str]:
    built, rounds, fresh = (
        [line for line in lines if line.stage == stage]
        for stage in (churn.BUILT, churn.CHURNED, churn.FRESH)
    )
    recalls = [line.recall_at_10 or 0.0 for line in rounds]
    sizes = [line.index_bytes or 0 for line in rounds]
    yield f"{_recalls(built)}\n{_recalls(fresh)}"
    yield f"{_recall(min(recalls, default=None))}\n{_recalls(rounds)}"
    yield _fixed(max(sizes, default=0) / (built[0].index_bytes or 1), 2)
    removing = [line.remove_s for line in rounds]
    yield f"{_median(removing)}\n{_median([line.add_s for line in rounds])}"
    yield _median([line.add_s for line in built])


def _recalls(lines: Sequence[churn.Line]) -> str:
    return _recall(lines[-1].recall_at_10 if lines else None)


def _audits(lines: Sequence[churn.Line] | Sequence[hostile.Line]) -> str:
    """Say what the libraries' own audits found."""
    faults = {line.label: line.problems for line in lines if line.problems}
    sound = dict.fromkeys(line.label for line in lines if line.label not in faults)
    told = [f"{label}: {fault}" for label, fault in faults.items() if fault != "–"]
    without = [label for label, fault in faults.items() if fault == "–"]
    told += [f"audits found nothing wrong: {', '.join(sound)}"] * bool(sound)
    told += [f"without an audit: {', '.join(without)}"] * bool(without)
    return "\n".join(told)


def filtered(lines: Sequence[filters.Line]) -> Iterator[Stack]:
    """Yield the tables of one data set's filters: one a shape, and one of forms."""
    known = [line.latency_us for line in lines]
    p50 = common("p50", known)
    told = [_FILTERS.format(p50=words(p50)), *remarks([lines[0].nq], known, ["p50"])]
    for shape, own in _by(lines, lambda line: line.shape):
        usual = [line for line in own if line.form == PREPARED]
        title = _title(usual[0], f"what passes: {_shape(shape)}")
        yield stack(title, _cases(usual, p50), " ".join(told), _worst(usual))
    if any(line.form != PREPARED for line in lines):
        title = _title(lines[0], "forms of a filter")
        yield stack(title, _forms(lines, p50), _FORMS)


def _shape(shape: str) -> str:
    return "random" if shape == RANDOM else f"the cells {shape} the queries"


def _cases(lines: Sequence[filters.Line], p50: str) -> Table:
    table = _table("index, setting")
    shares = list(dict.fromkeys(line.share for line in lines))
    for share in shares:
        table.add_column(f"{share:.3g} of all", justify="right", no_wrap=True)
    for name, own in _by(lines, lambda line: line.name):
        cells = {line.share: _case(line, p50) for line in own}
        table.add_row(name, *(cells[share] for share in shares))
    return table


def _worst(lines: Sequence[filters.Line]) -> str:
    """Say how low recall and how high latency is for ours at their first settings."""
    firsts = {line.label: line.name for line in reversed(lines)}.values()
    ours = [x for x in lines if x.library == "ann" and x.label != EXACT]
    own = [x for x in ours if x.name in firsts and x.recall_at_10 is not None]
    if not own:
        return ""
    low = min(own, key=lambda line: line.recall_at_10 or 0.0)
    slow = max(own, key=lambda line: line.times or 0.0)
    return (
        f"Of ours at first settings: least recall {_recall(low.recall_at_10)} "
        f"({low.label}, {low.share:.3g}), most × {_fixed(slow.times, 2)} "
        f"({slow.label}, {slow.share:.3g})"
    )


def _case(line: filters.Line, p50: str) -> str:
    us = line.latency_us.get(p50)
    if us is None:
        return "–"
    times = "" if line.label == EXACT else f"\n× {_fixed(line.times, 2)}"
    return f"{_recall(line.recall_at_10)}\n{us:,.0f} µs{times}"


def _forms(lines: Sequence[filters.Line], p50: str) -> Table:
    table = _table("index, setting: form, share")
    for head in (f"{words(p50)}\nµs", "×\nexact", "filter\nµs", "share\nof it"):
        table.add_column(head, justify="right", no_wrap=True)
    for line in lines:
        us = line.latency_us.get(p50)
        if line.shape == RANDOM and us is not None and line.resolve_us is not None:
            table.add_row(
                f"{line.name}: {line.form}, {line.share:.3g}",
                f"{us:,.0f}",
                _fixed(line.times, 2),
                f"{line.resolve_us:,.0f}",
                f"{line.resolve_us / us:.0%}",
            )
    return table


def harmed(lines: Sequence[hostile.Line]) -> Iterator[Stack]:
    """Yield the table of one data set's hostile forms."""
    table = _table("index, setting")
    kinds = list(dict.fromkeys(line.data for line in lines))
    for kind in kinds:
        table.add_column(kind, justify="right", no_wrap=True)
    for name, own in _by(lines, lambda line: line.name):
        if all(line.recall_at_10 is None for line in own):
            continue
        cells = {line.data: _harm(line) for line in own}
        table.add_row(name, *(cells.get(kind, "–") for kind in kinds))
    measured = [line for line in lines if line.recall_at_10 is not None]
    title = _title(lines[0], "data that is not kind")
    yield stack(title, table, _HOSTILE, _audits(measured))


def _harm(line: hostile.Line) -> str:
    known = _recall(line.recall_at_10)
    if line.data == SHUFFLED or line.change is None:
        return known
    return f"{known}\n{100 * line.change:+.1f}"


def _by(lines: Sequence[L], key: Callable[[L], str]) -> Iterator[tuple[str, list[L]]]:
    """Yield each value of a key and its lines, in the order of the lines."""
    for value in dict.fromkeys(map(key, lines)):
        yield value, [line for line in lines if key(line) == value]


def _title(line: Subject, what: str) -> str:
    data = f"{line.dataset} ({line.metric}): n={line.n:,} d={line.d}"
    return f"\n{data}, {line.nq:,} queries, {line.threads} threads\n{what}"


def _table(first: str) -> Table:
    table = Table()
    table.add_column(first, overflow="fold")
    return table


def _recall(value: float | None) -> str:
    return _fixed(value, 4)


def _fixed(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _median(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.median(known):.3g}" if known else "–"
