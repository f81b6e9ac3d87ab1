"""Which vectors there are after each step, and their exact neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.datasets.truth import exact_search
from experiments.recall import KS
from experiments.strict import ConfigError

if TYPE_CHECKING:
    from experiments.datasets import Dataset
    from experiments.streaming.runbook import Runbook, Step


Truth = Mapping[int, NDArray[np.int64]]
"""The exact neighbours of each query, by the number of a step that searches."""


class State(NamedTuple):
    """The vectors that live at a step.

    ``tags`` ascend, ``rows`` are those of the dataset that they stand for, and
    ``neighbors`` the exact ones of each query, as positions in both; of a step that
    does not search there are none.
    """

    step: Step
    tags: NDArray[np.int64]
    rows: NDArray[np.int64]
    neighbors: NDArray[np.int64] | None

    def positions(self, tags: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where answers stand in ``tags``, -1 where one is missing.

        Raises
        ------
        ValueError
            When a tag does not live.
        """
        places = np.minimum(np.searchsorted(self.tags, tags), len(self.tags) - 1)
        dead = (self.tags[places] != tags) & (tags >= 0)
        if dead.any():
            query, rank = np.argwhere(dead)[0]
            raise ValueError(
                f"answers must live, {int(dead.any(axis=1).sum())} of {len(tags):,} "
                f"hold a vector that was deleted: query {query} has {tags[query, rank]}"
            )
        return np.where(tags < 0, -1, places)


def states(runbook: Runbook, truth: Truth | None = None) -> Iterator[State]:
    """Yield the vectors that live after each step; one state is held at a time.

    Parameters
    ----------
    runbook : the steps
    truth : as ``find_truth`` returns it; without it, no state has neighbours

    Raises
    ------
    ConfigError
        When a step inserts what lives, takes away what does not, or lets more live
        than ``max_pts``.
    """
    rows = np.full(runbook.tags, -1, np.int64)
    for step in runbook.steps:
        where = f"{runbook.section}: {step.number}"
        old = rows[step.tags.start : step.tags.stop]
        alive = step.operation != "insert"
        wrong = (old >= 0) != alive
        if wrong.any():
            rule = "live" if alive else "be free"
            raise ConfigError(
                f"{where}: tags to {step.operation} must {rule}, "
                f"got tag {step.tags[int(wrong.argmax())]}"
            )
        old[:] = np.arange(step.rows.start, step.rows.stop) if step.rows else -1
        tags = np.flatnonzero(rows >= 0)
        if len(tags) > runbook.max_pts:
            raise ConfigError(
                f"{where}: at most max_pts={runbook.max_pts} must live, got {len(tags)}"
            )
        yield State(step, tags, rows[tags], (truth or {}).get(step.number))


def find_truth(runbook: Runbook, data: Dataset) -> Truth:
    """Search exactly among the vectors that live at each step that searches.

    Raises
    ------
    ConfigError
        As ``states``, and when the dataset has too few vectors or nothing lives when it
        is searched.
    """
    if runbook.rows > len(data.train):
        raise ConfigError(
            f"{runbook.section}: needs {runbook.rows} vectors, got {len(data.train)} "
            f"of {data.name}"
        )
    truth = {}
    for step, tags, rows, _ in states(runbook):
        if step.operation != "search":
            continue
        if not len(tags):
            raise ConfigError(
                f"{runbook.section}: {step.number}: a vector must live to search"
            )
        k = min(max(KS), len(tags))
        truth[step.number] = exact_search(data.train[rows], data.test, data.metric, k)[
            0
        ]
    return truth
