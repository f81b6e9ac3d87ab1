import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from experiments import per_query
from experiments.difficulty import Difficulty


@pytest.fixture(name="path")
def _path(tmp_path):
    table = pa.table(
        {
            "row_id": pa.array(["b", "a", "b"]).dictionary_encode(),
            "latency_us": pa.array([2.0, 1.0, None], pa.float32()),
            "distance_computations": pa.array([None, 7, 9], pa.int32()),
            "ids": [[1, 2], [3, 4], [5, 6]],
        }
    )
    parquet.write_table(table, tmp_path / "table.parquet")
    return tmp_path / "table.parquet"


def test_lines_are_gathered_by_their_key_in_their_order(path):
    names = ["latency_us", "distance_computations", "ids", "absent"]
    found = per_query.read(path, "row_id", names)
    assert found.keys() == {"a", "b"}
    assert found["a"].keys() == {"latency_us", "distance_computations", "ids"}
    np.testing.assert_array_equal(found["b"]["latency_us"], [2, np.nan])
    assert found["b"]["latency_us"].dtype == np.float64
    np.testing.assert_array_equal(found["b"]["distance_computations"], [np.nan, 9])
    assert found["b"]["ids"].tolist() == [[1, 2], [5, 6]]
    assert found["a"]["ids"].tolist() == [[3, 4]]


def test_what_is_not_there_is_empty(path, tmp_path):
    assert per_query.read(tmp_path / "absent.parquet", "row_id", ["ids"]) == {}
    assert per_query.read(path, "dataset", ["ids"]) == {}
    per_query.write_answers(tmp_path / "none.parquet", [])
    assert per_query.read(tmp_path / "none.parquet", "row_id", ["ids"]) == {}


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and then nothing of the kind PAR1")
    with pytest.raises(ValueError, match=r"bad\.parquet"):
        per_query.read(tmp_path / "bad.parquet", "row_id", ["ids"])


def test_what_is_written_is_read(tmp_path):
    hard = {
        "one": Difficulty(np.array([1.5, np.nan]), np.array([2.0, np.inf])),
        "two": Difficulty(np.array([3.0]), np.array([4.0])),
    }
    path = tmp_path / "queries.parquet"
    per_query.write_difficulty(path, hard)
    found = per_query.read(path, "dataset", ["query", "lid", "contrast"])
    for name, measures in hard.items():
        for column, expected in measures._asdict().items():
            np.testing.assert_array_equal(found[name][column], expected)
    assert found["one"]["query"].tolist() == [0, 1]
