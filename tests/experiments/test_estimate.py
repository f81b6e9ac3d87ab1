import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_report import ROWS

from experiments import config, estimate, plan, results
from experiments.datasets import sizes
from experiments.plots.rows import read_run

TABLE = {
    "name": "try",
    "rounds": 3,
    "dataset": [{"name": "patches-192-euclidean", "n": 50_000, "nq": 1000}],
    "index": [{"kind": "HNSW", "search": {"ef_search": [10, 20, 40]}}],
}


def planned(**changes):
    return plan.make(config.check(config.Config, TABLE | changes))


def test_sizes_are_known_without_loading(tmp_path, monkeypatch):
    assert sizes.size("patches-192-euclidean", nq=1000) == (530_611, 192, 1000)
    assert sizes.size("patches-192-euclidean") == (529_611, 192, 2000)
    assert sizes.size("digits-64-euclidean", 300, 20) == (300, 64, 20)
    assert sizes.size("synthetic-manifold-128d-14i-1m", nq=5) == (1_000_000, 128, 5)
    assert sizes.size("sift-128-euclidean")[:2] == (1_000_000, 128)
    assert sizes.size(str(tmp_path / "absent.hdf5")) is None


def test_sizes_of_files_are_read_from_their_headers(tmp_path):
    import h5py
    import numpy as np

    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.attrs["distance"] = "euclidean"
        for name, n in (("train", 70), ("test", 7)):
            file[name] = np.zeros((n, 5), np.float32)
        file["neighbors"] = np.zeros((7, 3), np.int32)
        file["distances"] = np.zeros((7, 3), np.float32)
    assert sizes.size(str(tmp_path / "a.hdf5")) == (70, 5, 7)
    np.save(tmp_path / "b.npy", np.zeros((400, 6), np.float32))
    assert sizes.size(str(tmp_path / "b.npy")) == (360, 6, 40)

    np.savetxt(tmp_path / "c.csv", np.zeros((400, 6)), delimiter=",")
    assert sizes.size(str(tmp_path / "c.csv"), 50, 10) == (50, 6, 10)
    for name, wrong in (("a.hdf5", {"n": 71}), ("b.npy", {"n": 391, "nq": 10})):
        with pytest.raises(ValueError, match=r"n must be in \[1, (70|390)\]"):
            sizes.size(str(tmp_path / name), **wrong)


def test_metrics_are_known_without_loading(tmp_path):
    import numpy as np

    names = ("digits-64-euclidean", "synthetic-heavytail-4d-2i-9", "glove-25-angular")
    assert [sizes.metric(name) for name in names] == ["l2", "ip", "cosine"]
    np.savez(tmp_path / "a.npz", train=np.zeros((9, 2)), metric="manhattan")
    table = pa.table({"a.b": [[1.0, 2.0, 3.0]] * 20})
    told = table.replace_schema_metadata({"ann.metric": "angular"})
    pq.write_table(told, tmp_path / "c.parquet")
    assert sizes.metric(str(tmp_path / "c.parquet")) == "cosine"
    assert sizes.size(str(tmp_path / "c.parquet")) == (18, 3, 2)
    np.save(tmp_path / "b.npy", np.zeros((9, 2)))
    files = (str(tmp_path / name) for name in ("a.npz", "b.npy", "absent.npy"))
    assert [sizes.metric(name) for name in files] == ["l1", None, None]


def test_the_embedded_sizes_are_true():
    from experiments import datasets

    digits = datasets.load("digits-64-euclidean")
    found = (*digits.train.shape, len(digits.test))
    assert sizes.size("digits-64-euclidean") == found


def test_more_work_takes_longer():
    few = estimate.seconds(planned())
    assert 5 < few < 120
    many = {"index": [{"kind": "HNSW", "search": {"ef_search": [10, 20, 40, 9000]}}]}
    assert estimate.seconds(planned(**many)) > few
    assert estimate.seconds(planned(rounds=30)) > few
    loaded = planned(load={"fractions": [0.5, 0.9], "seconds": 30.0})
    assert estimate.seconds(loaded) == pytest.approx(few + 2 * 40)
    larger = [{"name": "patches-192-euclidean", "nq": 1000}]
    assert estimate.seconds(planned(dataset=larger)) > 3 * few


def test_an_earlier_run_is_the_better_guide(tmp_path):
    made = planned()
    ids = [point.row_id for point in made.experiments[0].builds[0].points]
    rows = [
        results.Row(**vars(row) | {"row_id": row_id, "build_s": 1000.0})
        for row, row_id in zip(ROWS[1:4], ids, strict=True)
    ]
    results.write_rows(tmp_path / "rows.csv", rows)
    seconds = estimate.seconds(made, read_run(tmp_path))
    assert seconds == pytest.approx(1000 + estimate.START_S + 3 * 3 * 0.219, rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "about 5 seconds"),
        (62, "about 60 seconds"),
        (300, "about 5 minutes"),
        (9000, "about 2.5 hours"),
    ],
)
def test_durations_are_said_as_one_would(seconds, words):
    assert estimate.words(seconds) == words
