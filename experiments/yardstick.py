"""A fixed piece of work, timed beside every measurement.

Two runs meet a machine in two moods: its clock, its neighbours, its memory differ. What
the same work took in both tells how much, whatever was measured besides. It is a search
in little: rows from all over a table that no core's own cache holds, times a query.
"""

from __future__ import annotations

from time import perf_counter_ns

import numpy as np

ROWS, WIDTH = 65_536, 64  # 16 MiB
TAKEN = 2_048
REPEATS = 50  # about five milliseconds


class Yardstick:
    """The work and its memory, the same in every process."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._table = rng.random((ROWS, WIDTH), dtype=np.float32)
        self._query = rng.random(WIDTH, dtype=np.float32)
        self._rows = rng.integers(ROWS, size=TAKEN)
        self._taken = np.empty((TAKEN, WIDTH), np.float32)
        self._scores = np.empty(TAKEN, np.float32)

    def us(self) -> float:
        """Return the microseconds that the work takes now: the median of many times."""
        ns = np.empty(REPEATS, np.int64)
        for i in range(REPEATS):
            start = perf_counter_ns()
            self.work()
            ns[i] = perf_counter_ns() - start
        return float(np.median(ns)) / 1e3

    def work(self) -> None:
        """Do it once; the scores are overwritten."""
        np.take(self._table, self._rows, axis=0, out=self._taken, mode="clip")
        np.dot(self._taken, self._query, out=self._scores)
