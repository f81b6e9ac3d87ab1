"""Rows as ann-benchmarks writes its results, for its plots and its tables.

A folder that looks like the root of a checkout is written: ``data/NAME.hdf5`` with the
vectors and the exact distances, and ``results/NAME/K/LABEL/SETTING.hdf5`` for each row
that was measured. What ann-benchmarks calls the time of a query is the median over our
rounds, and its ``best_search_time`` the mean of these over queries. Distances are those
between the vectors, in its sign and units, computed anew from the ids.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from experiments import datasets, per_query
from experiments.config import DatasetEntry
from experiments.datasets.cache import atomic
from experiments.encoding import LONGEST_NAME, file_name
from experiments.interop.convert import SPELLINGS
from experiments.plots.rows import read_cells
from experiments.recall import distances_of
from experiments.results import ANSWERS, PER_QUERY, PROVENANCE, ROWS
from experiments.strict import check

if TYPE_CHECKING:
    from experiments.datasets import Dataset

_BLOCK_BYTES = 64 << 20
Cells = Mapping[str, str]


@dataclass(frozen=True)
class Measured:
    """What a result directory has of one row, query by query."""

    cells: Cells
    latency_us: NDArray[np.float64]
    ids: NDArray[np.int64]


def export(directory: Path, out: Path) -> list[Path]:
    """Write every measured row of a result directory; return the files of results.

    Parameters
    ----------
    directory : with rows, provenance, latencies and answers of a run
    out : a checkout of ann-benchmarks, or any folder

    Raises
    ------
    OSError
        When a file is missing; answers are kept by a run, but not under git.
    ValueError
        When the files contradict each other, or a dataset is not what was measured.
    """
    stamp = json.loads(_required(directory / PROVENANCE).read_text(encoding="utf-8"))
    rows = list(measured(directory))
    names = {row.cells["dataset"] for row in rows}
    fingerprints = {data["fingerprint"] for data in stamp["datasets"]}
    written: list[Path] = []
    for table in stamp["config"]["dataset"]:
        entry = check(DatasetEntry, table)
        if names.isdisjoint((entry.name, datasets.title(entry.name))):
            continue  # nothing was measured on it
        data = _load(entry, stamp["config"]["seed"], fingerprints)
        title = _title(entry, data)
        _write_dataset(out / "data" / f"{title}.hdf5", data)
        written += [
            _write_row(out / "results", title, row, data)
            for row in rows
            if _belongs(row.cells, data)
        ]
    if not written:
        raise ValueError(f"{directory} must hold a row that was measured, it has none")
    return written


def measured(directory: Path) -> Iterator[Measured]:
    """Yield the rows whose status is "ok", with what was kept of each query."""
    every = read_cells(_required(directory / ROWS))
    rows = [cells for cells in every if cells["status"] == "ok"]
    latencies = per_query.read(
        _required(directory / PER_QUERY), "row_id", ["latency_us"]
    )
    kept = _required(
        directory / ANSWERS,
        "a run keeps it beside its rows, but git does not: run the config again",
    )
    answers = per_query.read(kept, "row_id", ["ids"])
    for cells in rows:
        row_id, nq = cells["row_id"], int(cells["nq"])
        if row_id not in latencies or row_id not in answers:
            raise ValueError(f"{directory}: row {row_id} must have latencies and ids")
        ids = answers[row_id]["ids"].astype(np.int64)
        latency_us = latencies[row_id]["latency_us"]
        if len(latency_us) != nq or ids.shape[1] < int(cells["k"]):
            raise ValueError(
                f"{directory}: row {row_id} must have {nq} latencies and {cells['k']} "
                f"ids each, got {len(latency_us)} and {ids.shape[1]}"
            )
        yield Measured(cells, latency_us, ids[:, : int(cells["k"])])


def _required(path: Path, why: str = "") -> Path:
    if not path.is_file():
        reason = f"; {why}" if why else ""
        raise FileNotFoundError(f"{path}: must be there{reason}")
    return path


def _load(entry: DatasetEntry, seed: int, fingerprints: set[str]) -> Dataset:
    try:
        data = datasets.load(
            entry.name, n=entry.n, nq=entry.nq, metric=entry.metric, seed=seed
        )
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{entry.name}: must be here or in the folder ANN_DATA; a provenance names "
            "files without their folders"
        ) from None
    if data.fingerprint not in fingerprints:
        raise ValueError(
            f"{entry.name}: must be the vectors that were measured, with a fingerprint "
            f"among {sorted(fingerprints)}, got {data.fingerprint}"
        )
    return data


def _belongs(cells: Cells, data: Dataset) -> bool:
    n, d = data.train.shape
    if (cells["dataset"], cells["metric"]) != (data.name, data.metric):
        return False
    sizes = (int(cells[name]) for name in ("n", "d", "nq"))
    return tuple(sizes) == (n, d, len(data.test))


def _title(entry: DatasetEntry, data: Dataset) -> str:
    """Return the dataset's name there; of a sample, or another metric, its own."""
    parts = [data.name]
    parts += [f"n{entry.n}"] * bool(entry.n) + [f"q{entry.nq}"] * bool(entry.nq)
    parts += [SPELLINGS[data.metric][0]] * bool(entry.metric)
    return file_name("-".join(parts))


def _write_dataset(path: Path, data: Dataset) -> None:
    """Write a dataset; one that is there must have the same queries."""
    import h5py

    if path.exists():
        with h5py.File(path, "r") as file:
            same = file["train"].shape == data.train.shape and np.array_equal(
                file["test"], data.test
            )
        if not same:
            raise ValueError(f"{path}: must hold the vectors of this run, or not exist")
        return
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["type"] = "dense"
        file.attrs["distance"] = SPELLINGS[data.metric][0]
        file.attrs["dimension"] = data.train.shape[1]
        file.attrs["point_type"] = "float"
        for name in ("train", "test", "neighbors", "distances"):
            file[name] = getattr(data, name)


def _write_row(home: Path, title: str, row: Measured, data: Dataset) -> Path:
    import h5py

    attributes = _attributes(row, title, data)
    folder = home / title / row.cells["k"] / _file_name(row.cells["label"])
    setting = _file_name(f"{row.cells['build_params']} {row.cells['search_params']}")
    stem = f"{setting[:80]}_{row.cells['row_id']}".lstrip("_")
    path = folder / f"{stem}.hdf5"
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update(attributes)
        file["times"] = (row.latency_us / 1e6).astype(np.float32)
        file["neighbors"] = row.ids.astype(np.int32)
        file["distances"] = _distances(row.ids, data).astype(np.float32)
    return path


def _file_name(text: str) -> str:
    """Return a text without what separates folders; two may become one."""
    name = re.sub(r"[^\w.+-]+", "_", text).strip("_").encode()
    return name[:LONGEST_NAME].decode("utf-8", "ignore") or "_"


def _attributes(row: Measured, title: str, data: Dataset) -> dict[str, Any]:
    cells = row.cells
    rounds, nq = int(cells["rounds"]), int(cells["nq"])
    attributes = {
        "algo": cells["label"],
        "name": f"{cells['label']} {cells['search_params']}",
        "dataset": title,
        "distance": SPELLINGS[data.metric][0],
        "count": int(cells["k"]),
        "run_count": rounds,
        "batch_mode": False,
        "expect_extra": False,
        "best_search_time": float(row.latency_us.mean()) / 1e6,
        "candidates": float((row.ids >= 0).sum(axis=1).mean()),
        "build_time": float(cells["build_s"]),
        "index_size": float(cells["index_bytes"]) / 1024,
        "row_id": cells["row_id"],
    }
    if computations := cells.get("distance_computations"):
        # a sum over queries and rounds, by which they divide it
        attributes["dist_comps"] = float(computations) * nq * rounds
    return attributes


def _distances(ids: NDArray[np.int64], data: Dataset) -> NDArray[np.float64]:
    """Return distances in float64, infinite where an id is missing."""
    distances = np.empty(ids.shape)
    step = max(1, _BLOCK_BYTES // (8 * ids.shape[1] * data.train.shape[1]))
    for start in range(0, len(ids), step):
        rows = slice(start, start + step)
        distances[rows] = distances_of(
            ids[rows], data.train, data.test[rows], data.metric
        )
    distances[ids < 0] = np.inf
    return distances
