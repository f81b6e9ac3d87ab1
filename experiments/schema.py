"""Versions of ``rows.csv``, and of ``filters.csv``: earlier ones, read as today's.

Files of before there was a column ``schema`` are version 1. Their ``p50_us``,
``p95_us`` and ``p99_us``, and the intervals of the latter two, are what
``query_median_p50_us`` and so on are today; their ``p99_pooled_us`` is today's
``p99_us``. What they lack, p50 and p95 of all single queries, stays empty.
``p50_us_low`` and ``p50_us_high`` were the least and the greatest of a round, which
``rounds.csv`` tells, and ``mean_us`` was of medians: they have no place today.
"""

from __future__ import annotations

from collections.abc import Mapping

from experiments.percentiles import MEDIAN, PERCENTS
from experiments.statistics import fewest

SCHEMA = 2
_FIRST = "1"
_POOLED = "p99_pooled_us"
_GONE = ("p50_us_low", "p50_us_high", "mean_us", _POOLED)
_ENDS = ("_us", "_us_low", "_us_high")
_RENAMED = {
    f"{name}{end}": f"{MEDIAN}{name}{end}" for name in PERCENTS for end in _ENDS
}


def current(cells: Mapping[str, str]) -> dict[str, str]:
    """Return the cells of a row by the names that they have today.

    Raises
    ------
    ValueError
        When the row is of a version that is not known; the message says what was got.
    """
    version = cells.get("schema") or _FIRST
    if version == str(SCHEMA):
        return dict(cells)
    if version != _FIRST:
        raise ValueError(
            f"schema must be {_FIRST} or {SCHEMA}, as this version of ann knows no "
            f"other, got {version!r:.20}: use the version that wrote it"
        )
    kept = {name: cell for name, cell in cells.items() if name not in _GONE}
    read = {_RENAMED.get(name, name): cell for name, cell in kept.items()}
    if cells.get("rounds") == "1":  # a median over one round is what it took
        read |= {name: kept[name] for name in _RENAMED if name in kept}
        read |= {"mean_us": cells.get("mean_us", "")}
    elif _POOLED in cells:
        read["p99_us"] = cells[_POOLED] if _supports_p99(cells) else ""
    return {"schema": _FIRST} | read


def _supports_p99(cells: Mapping[str, str]) -> bool:
    """Whether there were as many queries as it needs; version 1 counted latencies."""
    nq = cells.get("nq", "")
    return not nq.isdecimal() or int(nq) >= fewest(99)
