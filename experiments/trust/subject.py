"""What a line of any study says of the index it is about."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.plan import canonical, written

if TYPE_CHECKING:
    from experiments.adapter import Params
    from experiments.datasets import Dataset
    from experiments.plan import Build, Plan


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One index and one setting of its search; ``status`` says what went wrong."""

    dataset: str
    metric: str
    n: int
    d: int
    nq: int
    library: str
    family: str
    label: str
    build_params: str
    search_params: str
    k: int
    threads: int
    seed: int
    status: str = "ok"

    @property
    def setting(self) -> str:
        """The setting in words."""
        params = json.loads(self.search_params)
        return ", ".join(f"{name}={value}" for name, value in params.items())

    @property
    def name(self) -> str:
        """The index and the setting."""
        return f"{self.label}, {self.setting}" if self.setting else self.label


def of(plan: Plan, data: Dataset, build: Build, search: Params | None = None) -> Any:
    """Return the columns of a line about an index, without what was measured."""
    n, d = data.train.shape
    columns = build.columns()
    del columns["index"]
    if not getattr(build.params, "whole", True):
        columns["family"] += "+codec"
    return columns | {
        "dataset": data.name,
        "metric": data.metric,
        "n": n,
        "d": d,
        "nq": len(data.test),
        "search_params": canonical(written(search) if search else {}),
        "k": plan.config.k,
        "threads": plan.threads,
    }
