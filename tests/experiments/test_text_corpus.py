import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiments import datasets
from experiments.text import corpus
from experiments.text.passages import Passage
from tests.experiments.fakes_text import Hashing

PASSAGES = [
    Passage(1, "", "[bold]red[/bold] apples"),
    Passage(3, "sky", "blau, weiß, 青"),
    *(Passage(i, "", f"passage {i}") for i in range(4, 24)),
]


@pytest.fixture(name="written")
def _written(tmp_path):
    path = tmp_path / "a.parquet"
    vectors = Hashing().encode([passage.text for passage in PASSAGES], "passage")
    blocks = np.split(vectors, [5, 6])
    corpus.write(path, PASSAGES, blocks, Hashing("words/of mine"))
    return path, vectors


def test_what_was_written_is_read(written):
    path, vectors = written
    read = corpus.read(path)
    assert read.passages == PASSAGES
    assert read.model == "words/of mine"
    assert read.path == path
    np.testing.assert_array_equal(read.vectors, vectors)


def test_it_is_a_dataset_as_any_other_and_states_its_metric(written, tmp_path):
    path, vectors = written
    data = datasets.load(path, nq=2, truth_k=3, cache=tmp_path / "cache")
    assert data.metric == "cosine"
    assert len(data.train) == len(vectors) - 2
    both = np.concatenate([data.train, data.test])
    assert {row.tobytes() for row in both} == {row.tobytes() for row in vectors}


def test_a_metric_that_is_none_is_refused(tmp_path):
    path = tmp_path / "b.parquet"
    table = pa.table({"emb": [[1.0, 2.0]] * 3})
    pq.write_table(table.replace_schema_metadata({"ann.metric": "far"}), path)
    with pytest.raises(ValueError, match="'far'"):
        datasets.load(path, cache=tmp_path / "cache")


def test_other_files_are_refused(written, tmp_path):
    path, _ = written
    with pytest.raises(FileNotFoundError, match="no such file"):
        corpus.read(tmp_path / "none.parquet")
    table = pq.read_table(path)
    foreign = tmp_path / "foreign.parquet"
    pq.write_table(table.replace_schema_metadata({}), foreign)
    with pytest.raises(ValueError, match="as 'ann datasets embed' writes it"):
        corpus.read(foreign)
    nulls = pa.array([None] * len(table), pa.string())
    pq.write_table(table.set_column(1, "label", nulls), foreign)
    with pytest.raises(ValueError, match="must not be null"):
        corpus.read(foreign)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="must be a readable parquet file"):
        corpus.read(path)
