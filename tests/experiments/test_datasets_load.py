"""Loading by name and from a file: what a Dataset promises."""

import dataclasses
import subprocess
import sys

import h5py
import numpy as np
import pytest

from experiments import datasets
from experiments.datasets import registry, truth
from experiments.datasets.cache import atomic, default_cache

RNG = np.random.default_rng(0)
X = RNG.standard_normal((400, 9)).astype(np.float32)
Q = RNG.standard_normal((30, 9)).astype(np.float32)


@pytest.fixture
def load(tmp_path):
    def load(name, **options):
        return datasets.load(name, cache=tmp_path / "cache", **options)

    return load


@pytest.fixture
def npy(tmp_path):
    np.save(tmp_path / "vectors.npy", X)
    return tmp_path / "vectors.npy"


@pytest.fixture
def hdf5(tmp_path):
    path = tmp_path / "some-9-euclidean.hdf5"
    distances = np.linalg.norm(Q[:, None].astype("f8") - X, axis=2)
    ids = np.argsort(distances, axis=1)[:, :100]
    with h5py.File(path, "w") as file:
        file.attrs["distance"] = "euclidean"
        file["train"], file["test"] = X, Q
        file["neighbors"] = ids.astype("i4")
        file["distances"] = np.take_along_axis(distances, ids, axis=1)
    return path


def check(found):
    for array in (found.train, found.test):
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert not isinstance(array, np.memmap)
    assert found.neighbors.dtype == np.int64
    assert found.distances.dtype == np.float32
    assert (np.diff(found.distances, axis=1) >= 0).all()
    assert len(found.fingerprint) == 64


def test_a_file_without_queries(load, npy):
    found = load(npy, metric="angular")
    check(found)
    assert (found.name, found.metric) == ("vectors", "cosine")
    assert (len(found.train), len(found.test)) == (360, 40)
    assert found.source == f"{npy.name}; 360 base vectors, 40 queries, seed 0"
    every = np.concatenate([found.train, found.test])
    assert np.array_equal(np.unique(every, axis=0), np.unique(X, axis=0))
    assert load(str(npy), metric="cosine").fingerprint == found.fingerprint


def test_what_is_found_is_as_its_source_has_it(tmp_path):
    X = np.array([[1.0, np.nan], [0.0, np.inf]])
    np.save(tmp_path / "raw.npy", X)
    found = datasets.find(tmp_path / "raw.npy")
    np.testing.assert_array_equal(found.train, X)
    assert found.train.dtype == X.dtype
    assert (found.test, found.metric) == (None, None)
    drawn = datasets.find("synthetic-cube-2d-2i-50", 7, seed=3)
    assert (len(drawn.train), len(drawn.test)) == (50, 7)


def test_a_file_with_truth(load, hdf5, monkeypatch):
    searched = []
    search = truth.exact_search
    monkeypatch.setattr(
        truth, "exact_search", lambda *a: searched.append(len(a[1])) or search(*a)
    )
    found = load(hdf5)
    check(found)
    assert searched == [16]  # the spot check of the file's truth
    assert found.source == hdf5.name
    assert np.array_equal(found.train, X)
    assert np.array_equal(found.test, Q)
    load(hdf5)
    load(hdf5, n=400, nq=30)
    assert searched == [16]  # cached
    load(hdf5, n=200)
    load(hdf5, nq=20)
    load(hdf5, metric="l1")
    load(hdf5, truth_k=101)
    assert searched == [16, 30, 20, 30, 30]  # none of these is the file's truth


def test_wrong_truth_in_a_file_names_it(load, hdf5):
    with h5py.File(hdf5, "a") as file:
        file["neighbors"][7, 3] = 400
    with pytest.raises(ValueError, match=r"hdf5: neighbors must be in \[0, n=400\)"):
        load(hdf5)


def test_samples(load, hdf5):
    found = load(hdf5, n=100, nq=5, seed=3, truth_k=7)
    check(found)
    assert found.neighbors.shape == (5, 7)
    assert "100 base vectors, 5 queries, seed 3" in found.source
    assert np.isin(found.train, X).all()
    again, other = (load(hdf5, n=100, nq=5, seed=s, truth_k=7) for s in (3, 4))
    assert again.fingerprint == found.fingerprint != other.fingerprint


def test_the_metric_must_be_known(load, npy):
    with pytest.raises(ValueError, match=r"vectors.npy: metric must be given"):
        load(npy)
    with pytest.raises(ValueError, match=r"metric must be one of .* got 'chebyshev'"):
        load(npy, metric="chebyshev")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sift-128-euclidian", "did you mean 'sift-128-euclidean'"),
        ("patches", "a dataset must be one of patches-192-euclidean, .*got 'patches'"),
        ("", "a dataset must be one of"),
        ("data/vectors.mat", "suffix must be one of"),
    ],
)
def test_unknown_names(load, name, message):
    with pytest.raises(ValueError, match=message):
        load(name)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("ANN_DATA", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize("where", ["here", "ANN_DATA"])
@pytest.mark.parametrize("name", ["random-s-100-euclidean", "glove.6B.50d", "日本 [x]"])
def test_a_suffix_may_be_left_out(load, folder, where, name):
    place = folder if where == "ANN_DATA" else folder.parent
    with (place / f"{name}.NPY").open("wb") as file:
        np.save(file, X)
    (folder / f"{name}.md").write_text("about them")
    found = load(name, metric="l2", n=300, nq=7)
    assert (found.name, found.train.shape) == (name, (300, 9))
    assert found.source.startswith(f"{name}.")


def test_several_files_of_one_name_are_listed(load, folder):
    for suffix in ("npy", "fbin"):
        (folder / f"mine.{suffix}").touch()
    with pytest.raises(
        ValueError, match=r"mine: must be named .*: mine.fbin, mine.npy"
    ):
        load("mine", metric="l2")


def test_a_name_that_is_nearly_a_file_is_corrected(load, folder):
    np.save(folder / "my-vectors.npy", X)
    with pytest.raises(ValueError, match=r"did you mean 'my-vectors.npy'\?"):
        load("my-vector", metric="l2")


def test_a_public_set_that_is_there_is_not_downloaded(load, folder, monkeypatch):
    remote = registry.Remote("glove-9-angular", 400, 30, 9, "cosine")
    monkeypatch.setitem(registry.SETS, remote.name, remote)
    with h5py.File(folder / "glove-9-angular.hdf5", "w") as file:
        file["train"], file["test"] = X, Q
    found = load("glove-9-angular", truth_k=10)
    assert (found.metric, found.train.shape) == ("cosine", X.shape)
    wrong = dataclasses.replace(remote, sha256="0" * 64)
    monkeypatch.setitem(registry.SETS, remote.name, wrong)
    with pytest.raises(ValueError, match="named with its suffix: sha256 must be 000"):
        load("glove-9-angular")
    monkeypatch.setitem(registry.SETS, remote.name, dataclasses.replace(remote, n=401))
    with pytest.raises(ValueError, match=r"train must have shape \(401, 9\)"):
        load("glove-9-angular")
    found = load("glove-9-angular.hdf5", metric="l2", truth_k=10)
    assert found.train.shape == X.shape


def test_a_missing_file(load, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.npy: no such file"):
        load(str(tmp_path / "none.npy"), metric="l2")


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_zero_vector_in_a_file_is_refused_under_cosine_only(load, tmp_path, part):
    arrays = {"train": X.copy(), "test": Q.copy()}
    arrays[part][11] = 0
    np.savez(tmp_path / "x.npz", **arrays)
    message = f"x.npz: {part} must have no zero vector under cosine, got 1, .* row 11"
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "x.npz", metric="cosine")
    assert len(load(tmp_path / "x.npz", metric="ip").train) == 400


def test_values_that_are_not_finite_are_refused_by_the_row_of_the_file(load, tmp_path):
    spoiled = X.copy()
    spoiled[123, 4] = np.nan
    np.savez(tmp_path / "x.npz", train=spoiled, test=Q)
    for n in (None, 399):
        with pytest.raises(ValueError, match=r"x.npz: train: .* nan in row 123, "):
            load(tmp_path / "x.npz", metric="l2", n=n)


def test_truth_k_beyond_n_is_refused(load, npy):
    with pytest.raises(ValueError, match=r"truth_k must be in \[1, n=50\], got 100"):
        load(npy, metric="l2", n=50)


def test_names_are_complete():
    names = datasets.names()
    assert len(names) == len(set(names))
    assert {"patches-192-euclidean", "digits-64-euclidean"} <= set(names)
    assert {"sift-128-euclidean", "lastfm-64-dot"} <= set(names)
    assert "synthetic-manifold-128d-14i-1m" in names


def test_default_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("ANN_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    np.save(tmp_path / "x.npy", X)
    datasets.load(tmp_path / "x.npy", metric="l2")
    assert list((tmp_path / "ground-truth").iterdir())
    monkeypatch.delenv("ANN_CACHE")
    assert default_cache().name == "ann"


def test_atomic_leaves_the_old_file_when_writing_fails(tmp_path):
    path = tmp_path / "x.npy"
    path.write_text("old")

    def fail():
        with atomic(path) as temporary:
            temporary.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]
    with atomic(path) as temporary:
        temporary.write_text("new")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["new"]


def test_importing_is_light():
    code = "import sys, experiments.datasets; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"sklearn", "h5py", "pyarrow", "requests", "rich", "numba", "matplotlib"}
    assert not heavy & set(done.stdout.split())
