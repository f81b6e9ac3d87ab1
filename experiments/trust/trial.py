"""One dataset of a study and the processes that work on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from experiments import indexes
from experiments.trust import subject
from experiments.trust.bench import TrustJob, TrustWorker

if TYPE_CHECKING:
    from experiments.adapter import Adapter, Params
    from experiments.config import Trust
    from experiments.datasets import Dataset
    from experiments.plan import Build, Plan
    from experiments.progress import Progress

W = TypeVar("W", bound=TrustWorker)


@dataclass(frozen=True)
class Trial:
    """A dataset, its indexes, and where their processes find the vectors."""

    plan: Plan
    config: Trust
    builds: Sequence[Build]
    data: Dataset
    folder: Path
    progress: Progress

    def __post_init__(self) -> None:
        """Write the vectors where the workers map them."""
        np.save(self.folder / "train.npy", self.data.train)
        np.save(self.folder / "test.npy", self.data.test)

    def on(self, data: Dataset, folder: str) -> Trial:
        """Return the same trial of other data, written to a folder of its own."""
        own = self.folder / folder
        own.mkdir()
        return replace(self, data=data, folder=own)

    def about(self, build: Build, search: Params | None = None) -> Any:
        """Return the columns of a line that say what it is about."""
        return subject.of(self.plan, self.data, build, search)

    def why_not(self, adapter: type[Adapter] | None, build: Build, verb: str) -> str:
        """Return why an index is left out, nothing if it is not.

        ``adapter`` drives it in this study; None where the library cannot ``verb``.
        """
        if adapter is None:
            own = build.adapter
            return f"skipped: {own.library} {own.kind} cannot {verb}"
        reason = indexes.why_not(adapter, self.data.metric)
        return f"skipped: {reason}" if reason else ""

    @contextmanager
    def worker(
        self,
        of: type[W],
        job: type[TrustJob],
        build: Build,
        adapter: type[Adapter],
        **more: Any,
    ) -> Iterator[W]:
        """Start a process for an index; it ends with the block."""
        what = job(
            adapter=adapter,
            metric=self.data.metric,
            params=build.params,
            seed=build.seed,
            train=self.folder / "train.npy",
            test=self.folder / "test.npy",
            k=self.config.k,
            threads=self.plan.threads,
            **more,
        )
        worker = of(what, self.folder / f"{build.build_id}.log", self.config.timeout_s)
        try:
            yield worker
        finally:
            worker.close()
