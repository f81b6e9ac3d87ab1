"""What a plan would stumble over, found before anything is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from experiments import indexes
from experiments.datasets.sizes import Size, metric, size
from experiments.plan import canonical, written

if TYPE_CHECKING:
    from experiments.plan import Build, Experiment, Plan

FEWEST = 100  # vectors: so many true neighbours are kept of each query


class Outlook(NamedTuple):
    """What is known beforehand: what would fail, and what would be left out, and why.

    ``measured`` says whether anything would be measured.
    """

    problems: list[str]
    skipped: list[str]
    measured: bool


def outlook(plan: Plan) -> Outlook:
    """Look through a plan without loading data or building an index."""
    problems: dict[str, None] = {}
    skipped: dict[str, list[str]] = {}
    measured = False
    for experiment in plan.experiments:
        try:
            known = _Known.of(experiment, plan.config.k)
        except (OSError, ValueError) as error:
            problems[_of(experiment, str(error))] = None
            continue
        for build in experiment.builds:
            if reason := known.why_not(build):
                skipped.setdefault(reason, []).append(build.label)
                continue
            wrong = dict.fromkeys(known.wrong(build))
            problems |= {_of(experiment, each): None for each in wrong}
            measured |= not wrong
    told = [
        f"{reason}; skipped: {', '.join(dict.fromkeys(labels))}"
        for reason, labels in skipped.items()
    ]
    return Outlook(list(problems), told, measured)


class _Known(NamedTuple):
    """What is known of the data of an experiment; None where only loading would tell.

    ``k`` is how many neighbours are searched for.
    """

    size: Size | None
    metric: str | None
    k: int

    @classmethod
    def of(cls, experiment: Experiment, k: int) -> _Known:
        """Return it, or raise ValueError where the data cannot be measured on."""
        entry = experiment.dataset
        found = size(entry.name, entry.n, entry.nq)
        stated = entry.metric or metric(entry.name)
        if found is not None:
            if stated is None:
                raise ValueError(
                    "metric must be given, as the file does not state it: one of l2, "
                    "ip, cosine, l1"
                )
            if found.n < k:
                raise ValueError(f"k must be at most n={found.n}, got {k}")
            if found.n < FEWEST:
                raise ValueError(
                    f"n must be at least {FEWEST}, as so many true neighbours are kept "
                    f"of each query, got {found.n}"
                )
        return cls(found, stated, k)

    def why_not(self, build: Build) -> str | None:
        """Return why an index would be left out, or None."""
        adapter = build.adapter
        return indexes.why_not(adapter, self.metric or adapter.metrics[0])

    def wrong(self, build: Build) -> Iterator[str]:
        """Yield why an index cannot be built, or searched with some setting."""
        if self.size is None or self.metric is None:
            return
        n, d, _ = self.size
        adapter, params = build.adapter, build.params
        if reason := adapter.unfit(self.metric, params, n, d):
            yield f"{build.label}: {reason}"
            return
        for point in build.points:
            if reason := adapter.unsearchable(params, point.search, self.k):
                yield f"{build.label} {canonical(written(point.search))}: {reason}"


def _of(experiment: Experiment, what: str) -> str:
    return f"{experiment.dataset.name}: {what}"
