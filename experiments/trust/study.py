"""A study from its config to its files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments import datasets, provenance, results, schema
from experiments import plan as plans
from experiments.progress import Progress
from experiments.trust import churn, filters, hostile
from experiments.trust.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from experiments.config import Trust
    from experiments.plan import Plan
    from experiments.trust.subject import Subject


class Study(NamedTuple):
    """What a study consists of."""

    file: str
    line: type[Subject]
    steps: Callable[[Plan, Any], int]
    play: Callable[[Trial, Any], Iterator[Sequence[Subject]]]


STUDIES = {
    "churn": Study(results.CHURN, churn.Line, churn.steps, churn.play),
    "filters": Study(results.FILTERS, filters.Line, filters.steps, filters.play),
    "hostile": Study(results.HOSTILE, hostile.Line, hostile.steps, hostile.play),
}


def make(config: Trust) -> Plan:
    """Expand a config; a study of filters has its yardstick first.

    Raises
    ------
    ConfigError
        As :func:`experiments.plan.make`.
    """
    if config.study == "filters":
        entries = [filters.YARDSTICK, *config.index]
        config = config.model_copy(update={"index": entries})
    return plans.make(config)


def steps(plan: Plan, config: Trust) -> int:
    """Return how many steps of progress a study has."""
    return STUDIES[config.study].steps(plan, getattr(config, config.study))


def run(
    plan: Plan, config: Trust, out: Path, console: Console, command: str
) -> Sequence[Subject]:
    """Do what a config says; write lines and provenance into a directory.

    Parameters
    ----------
    plan, config : the study, as ``make`` expanded it, and as it was written
    out : a directory that :func:`experiments.results.claim` made ready
    console : where to say how it goes
    command : what the user typed, for the provenance
    """
    study, table = STUDIES[config.study], getattr(config, config.study)
    stamp = provenance.collect(config, plan.threads, command)
    stamp |= {"datasets": [], "status": "unfinished"}
    lines: list[Subject] = []
    results.write_json(out / results.PROVENANCE, stamp)
    try:
        with Progress(console, steps(plan, config)) as progress:
            for experiment in plan.experiments:
                entry = experiment.dataset
                progress.doing(f"loading {entry.name}")
                data = datasets.load(
                    entry.name,
                    n=entry.n,
                    nq=entry.nq,
                    metric=entry.metric,
                    seed=config.seed,
                    progress=progress.bar,
                )
                stamp["datasets"].append(provenance.dataset(data, entry.name))
                before = lines
                with tempfile.TemporaryDirectory("", "ann-") as folder:
                    trial = Trial(
                        plan, config, experiment.builds, data, Path(folder), progress
                    )
                    for more in study.play(trial, table):
                        lines = [*before, *more]
                        results.write_table(out / study.file, lines)
        stamp["status"] = "finished"
    finally:
        stamp["ended"] = provenance.now()
        results.write_table(out / study.file, lines)
        results.write_json(out / results.PROVENANCE, stamp)
    return lines


def read(out: Path) -> tuple[Sequence[Subject], Mapping[str, Any]]:
    """Return the lines and the provenance of a study that was run.

    Raises
    ------
    OSError
        When there is no such directory, or no provenance in it.
    ValueError
        When it holds no study of trust, or a file is malformed.
    """
    stamp = json.loads((out / results.PROVENANCE).read_text(encoding="utf-8"))
    for study in STUDIES.values():
        if (out / study.file).is_file():
            path = out / study.file
            return results.read_table(path, study.line, schema.current), stamp
    listed = ", ".join(study.file for study in STUDIES.values())
    raise ValueError(f"{out} must hold one of {listed}, got none")
