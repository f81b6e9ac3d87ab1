"""A small result directory with everything that a run can leave behind."""

import csv
import json

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from experiments import results
from experiments.results import Row
from experiments.under_load import Line

NQ, ROUNDS = 200, 3
EFS = (10, 20, 40, 80, 160, 320)
DATASETS = ("patches-192-euclidean", "wordnet <b>&amp;</b>")
OLD = (  # what the first version did not have; its p50_us was of query medians
    "schema", "recall_at_10_low", "recall_at_10_high", "recall_at_10_strict",
    "recall_at_10_ab", "share_50", "share_90", "share_100", "recall_p5", "zero_recall",
    "p95_us_low", "p95_us_high", "p99_us_low", "p99_us_high", "sway", "builds",
    *(f"query_median_{name}_us{end}" for name in ("p50", "p95", "p99")
      for end in ("", "_low", "_high")),
)  # fmt: skip
PROVENANCE = {
    "command": "ann run mine.toml",
    "config": {"name": "mine", "dataset": [{"name": f"{DATASETS[0]}.hdf5", "nq": NQ}]},
    "commit": "fa3d8d240af175953036a5d26eb1d250a435907c",
    "dirty": False,
    "cpu": "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
    "cores": 2,
    "libraries": {"numpy": "2.4.6"},
    "started": "2025-11-21T01:20:00+00:00",
}
CURVES = {  # label: library, build, µs a unit of ef; missed at ef = 10, left at 20
    "HNSW": ("ann", {"M": 16, "ef_construction": 200}, 3.0, 0.2, 0.25),
    "HNSW SQ8": ("ann", {"M": 16, "codec": {"kind": "SQ", "bits": 8}}, 1.5, 0.25, 0.45),
    "hnswlib": ("hnswlib", {"M": 16, "ef_construction": 200}, 4.0, 0.15, 0.25),
    "<i>odd</i> & \\ ]]>": ("new-one", {}, 9.0, 0.3, 0.25),
}


def rows():
    return [row for name in DATASETS for row in of_dataset(name)]


def of_dataset(name):
    for label, (library, build, us, missed, left) in CURVES.items():
        for i, ef in enumerate(EFS):
            yield point(name, label, library, build, ef, us, missed * left**i)
    common = {"rounds": 0, "ef": 10, "us": 1.0, "missed": 0.0}
    yield point(name, "bad", "ann", {}, **common, status="refused: it used 2.00 cores")
    yield point(name, "usearch", "usearch", {}, **common, status="skipped: no usearch")
    yield point(name, "nothing", "dummy", {}, ef=0, us=0.1, missed=1.0)


def point(
    dataset, label, library, build, ef, us, missed, status="ok", rounds=3, **columns
):
    recall, p50 = 1 - missed, 5 + ef * us
    numbers = {
        "recall_at_1": 1 - missed / 2,
        "recall_at_5": recall,
        "recall_at_10": recall,
        "recall_at_10_low": recall - missed / 4,
        "recall_at_10_high": recall + missed / 4,
        "recall_at_10_strict": recall - missed / 8,
        "recall_at_10_ab": recall + missed / 8,
        "share_50": 1 - missed / 10,
        "share_90": 1 - missed / 2,
        "share_100": 1 - missed,
        "recall_p5": 0.6,
        "zero_recall": 1,
        "p50_us": p50,
        "p95_us": 1.5 * p50,
        "p99_us": None,  # they are too few
        "mean_us": 1.1 * p50,
        "p50_us_low": 0.9 * p50,
        "p50_us_high": 1.1 * p50,
        "query_median_p50_us": 0.95 * p50,
        "query_median_p95_us": 1.3 * p50,
        "sway": 0.2 if label == "hnswlib" else 0.04,
        "qps": 1.9e6 / p50,
        "qps_1thread": 1e6 / p50,
        "build_s": 1.5 if library == "ann" else 2.5,
        "index_bytes": 400 * 50_000 // (2 if "codec" in build else 1),
        "distance_computations": 12.0 * ef,
    }
    return Row(
        dataset=dataset,
        metric="l2",
        n=50_000,
        d=192,
        nq=NQ,
        library=library,
        family="HNSW",
        index="HNSW-SQ" if "codec" in build else "HNSW",
        label=label,
        build_params=json.dumps(build),
        search_params=json.dumps({"ef_search": ef}),
        k=10,
        threads=2,
        seed=0,
        rounds=rounds,
        **(numbers if status == "ok" else {}) | columns,
        status=status,
        build_id=label,
        row_id=f"{dataset} {label} {ef}",
    )


def write(directory, without=(), files=True):
    directory.mkdir(parents=True)
    results.write_rows(directory / "rows.csv", rows())
    if without:
        drop(directory / "rows.csv", without)
    if not files:
        return directory
    (directory / "provenance.json").write_text(json.dumps(PROVENANCE))
    write_queries(directory)
    with (directory / "rounds.csv").open("w", newline="") as file:
        names = ("row_id", "round", *results.ROUND_MEASURES)
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for row in measured():
            for i, factor in enumerate((0.9, 1.0, 1.2)):
                measures = {
                    "p50_us": row.p50_us * factor,
                    "p95_us": row.p95_us * factor,
                    "p99_us": "",
                    "qps": row.qps * factor,
                    "qps_1thread": row.qps_1thread * factor,
                }
                writer.writerow({"row_id": row.row_id, "round": i, **measures})
    results.write_table(directory / "load.csv", list(loads()))
    return directory


def drop(path, columns):
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    with path.open("w", newline="") as file:
        kept = [name for name in lines[0] if name not in columns]
        writer = csv.DictWriter(file, kept, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)


def measured():
    return [row for row in rows() if row.status == "ok"]


def loads():
    """Yield what queries of the first data set waited for, the greater load first."""
    for label, ef in (("HNSW", 40), ("hnswlib", 80)):
        for fraction in (0.9, 0.5):
            yield line(DATASETS[0], label, ef, fraction)


def line(dataset, label, ef, fraction):
    us = 10 * ef / (1 - fraction)
    return Line(
        dataset=dataset,
        label=label,
        search_params=json.dumps({"ef_search": ef}),
        row_id=f"{dataset} {label} {ef}",
        recall_at_10=0.97,
        fraction=fraction,
        offered_qps=fraction * 1000,
        achieved_qps=fraction * 999,
        queries=500,
        p50_us=us,
        p95_us=2 * us,
        p99_us=3 * us,
        p99_us_low=None,
        p99_us_high=None,
        service_p50_us=us,
        service_p99_us=us,
    )


def samples():
    """Return per row its queries' latencies and recalls, hard queries last."""
    rng = np.random.default_rng(0)
    for row in measured():
        latency = row.p50_us * rng.lognormal(0, 0.3, NQ)
        odds = np.clip(row.recall_at_10 + np.linspace(0.02, -0.02, NQ), 0, 1)
        yield row, latency, rng.binomial(10, odds) / 10


def write_queries(directory):
    tables = [
        pa.table(
            {
                "row_id": [row.row_id] * NQ,
                "query": np.arange(NQ),
                "latency_us": latency.astype(np.float32),
                "recall_at_10": recall.astype(np.float32),
            }
        )
        for row, latency, recall in samples()
    ]
    parquet.write_table(pa.concat_tables(tables), directory / "per_query.parquet")
    tables = [
        pa.table(
            {
                "row_id": [row_id] * len(latency),
                "query": np.tile(np.arange(NQ), ROUNDS),
                "round": np.repeat(np.arange(ROUNDS), NQ),
                "latency_us": latency.astype(np.float32),
            }
        )
        for row_id, latency in single_latencies().items()
    ]
    parquet.write_table(pa.concat_tables(tables), directory / "latencies.parquet")
    lid, contrast = difficulty()
    columns = {"lid": lid, "contrast": contrast, "query": np.arange(NQ)}
    named = columns | {"dataset": [DATASETS[0]] * NQ}
    parquet.write_table(pa.table(named), directory / "queries.parquet")


def single_latencies():
    """Return per row its queries' latencies in all rounds, of which one is slow."""
    factors = np.repeat([0.9, 1.0, 1.7], NQ)
    return {row.row_id: np.tile(us, ROUNDS) * factors for row, us, _ in samples()}


def difficulty():
    lid, contrast = np.linspace(5, 25, NQ), np.linspace(3, 1.2, NQ)
    contrast[0] = np.inf
    return lid, contrast
