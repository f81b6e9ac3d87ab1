"""Local files: every format read, and no malformed or hostile one believed."""

import io
import struct
import tracemalloc
import zipfile

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiments.datasets import files
from experiments.datasets import hdf5 as hdf5_module

X = np.random.default_rng(0).integers(-100, 100, (50, 6))


def vecs(array, dtype):
    d = struct.pack("<i", array.shape[1])
    return b"".join(d + row.astype(dtype).tobytes() for row in array)


def bins(array, dtype, n=None, d=None):
    n, d = n or array.shape[0], d or array.shape[1]
    return struct.pack("<II", n, d) + array.astype(dtype).tobytes()


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npy_header(shape, descr="<f4", version=(1, 0)):
    stream = io.BytesIO()
    header = {"shape": shape, "fortran_order": False, "descr": descr}
    write = {
        (1, 0): np.lib.format.write_array_header_1_0,
        (2, 0): np.lib.format.write_array_header_2_0,
    }[version]
    write(stream, header)
    return stream.getvalue()


def hdf5(path, attrs=(), options=(), **arrays):
    with h5py.File(path, "w") as file:
        file.attrs.update(dict(attrs))
        for name, array in arrays.items():
            file.create_dataset(name, data=array, **dict(options))
    return path


def written(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def refused(path, message):
    """Read a file that must be refused, by its name, without much memory."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message) as caught:
            files.read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert peak < 5_000_000


RAW = [
    ("x.fvecs", vecs(X, "<f4"), X),
    ("x.ivecs", vecs(X, "<i4"), X),
    ("x.bvecs", vecs(X + 100, "u1"), X + 100),
    ("x.fbin", bins(X, "<f4"), X),
    ("x.ibin", bins(X, "<i4"), X),
    ("x.u8bin", bins(X + 100, "u1"), X + 100),
    ("x.i8bin", bins(X, "i1"), X),
    ("x.npy", npy(X.astype(np.float16)), X),
    ("x.NPY", npy(np.asfortranarray(X)), X),
]


@pytest.mark.parametrize(("name", "content", "expected"), RAW)
def test_raw_formats(tmp_path, name, content, expected):
    found = files.read(written(tmp_path, name, content))
    assert np.array_equal(found.train, expected)
    assert (found.test, found.metric) == (None, None)


@pytest.mark.parametrize(("name", "content", "expected"), RAW)
@pytest.mark.parametrize("cut", ["last byte", "half", "header", "all", "grown"])
def test_truncated_raw_files(tmp_path, name, content, expected, cut):
    keep = {"last byte": -1, "half": len(content) // 2 + 1, "header": 3, "all": 0}
    content = content + b"x" if cut == "grown" else content[: keep[cut]]
    refused(written(tmp_path, name, content), "(size|readable npy file)")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.fvecs", struct.pack("<i", -3) + bytes(12), "d must be at least 1, got -3"),
        ("a.fvecs", struct.pack("<i", 0) + bytes(12), "d must be at least 1, got 0"),
        (
            "a.fvecs",
            struct.pack("<i", 2**31 - 1) + bytes(12),
            "size must be a multiple",
        ),
        (
            "a.fvecs",
            vecs(X, "<f4") + struct.pack("<i", 7) + bytes(24),
            "d must be 6 in all rows, got 7 in row 50",
        ),
        (
            "a.fbin",
            bins(X, "<f4", n=2**32 - 1, d=2**32 - 1),
            "size must be 73786976260478468108 ",
        ),
        ("a.fbin", bins(X, "<f4", n=51), "size must be 1232 .* header says, got 1208"),
        (
            "a.fbin",
            struct.pack("<II", 0, 6),
            "n and d must be at least 1, got n=0, d=6",
        ),
        ("a.u8bin", struct.pack("<II", 6, 0), "must be at least 1, got n=6, d=0"),
        ("a.npy", npy(np.zeros((0, 4))), r"n, d >= 1, got \(0, 4\)"),
        ("a.npy", npy(np.array([{"a": 1}] * 3)), "dtype must be .* got object"),
        ("a.npy", npy_header((2**40, 2**40)), "size must be 4835703278458516698824832"),
        ("a.npy", npy_header((-5, -4)) + bytes(80), r"not be negative, got \(-5, -4\)"),
        ("a.npy", npy_header((-5, 4), version=(2, 0)), r"negative, got \(-5, 4\)"),
        ("a.npy", b"\x93NUMPY\x09\x00" + bytes(99), "must be a readable npy file"),
        ("a.npy", b"\x93NUMPY\x01\x00\x04\x00exec", "must be a readable npy file"),
    ],
)
def test_hostile_raw_files(tmp_path, name, content, message):
    refused(written(tmp_path, name, content), message)


def test_unknown_suffix_and_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"suffix must be one of .hdf5, .*got '.csv'"):
        files.read(tmp_path / "a.csv")
    with pytest.raises(FileNotFoundError, match="no such file"):
        files.read(tmp_path / "a.npy")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(FileNotFoundError, match="no such file"):
        files.read(tmp_path / "folder.npy")


# --- npz


def test_npz_with_queries_truth_and_metric(tmp_path):
    ids, distances = np.zeros((2, 3), dtype=int), np.ones((2, 3))
    np.savez_compressed(
        tmp_path / "x.npz",
        **{"train": X, "test": X[:2], "neighbors": ids, "distances": distances},
        metric="euclidean",
    )
    found = files.read(tmp_path / "x.npz")
    assert found.metric == "l2"
    assert np.array_equal(found.train, X)
    assert np.array_equal(found.test, X[:2])
    assert np.array_equal(found.neighbors, ids)


def test_npz_with_one_array_of_any_name(tmp_path):
    np.savez(tmp_path / "x.npz", embeddings=X)
    assert np.array_equal(files.read(tmp_path / "x.npz").train, X)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": X, "b": X}, r"needs the dataset 'train', got \['a', 'b'\]"),
        ({"train": X, "test": X[:, 1:]}, "as wide as train, d=6, got d=5"),
        ({"train": X, "metric": "jaccard"}, "metric must be one of .* got 'jaccard'"),
        ({"train": X, "metric": "l2", "distance": "ip"}, "must state one metric"),
        ({"train": np.array([None])}, "dtype must be .* got object"),
        ({"train": X[0]}, r"n, d >= 1, got \(6,\)"),
        ({}, r"needs the dataset 'train', got \[\]"),
    ],
)
def test_malformed_npz(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    refused(tmp_path / "x.npz", message)


def test_zip_bomb(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.npy", npy_header((5_000_000, 4)) + bytes(80_000_000))
    assert path.stat().st_size < 100_000
    refused(path, "train.npy: declared bytes must be at most 200 times the")


def test_npz_whose_header_declares_more_than_its_member_holds(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.npy", npy_header((10**9, 10**9)) + bytes(16))
    refused(path, "size must be 4000000000000000128 bytes for shape")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", npy(X)])
def test_what_is_no_zip(tmp_path, content):
    refused(written(tmp_path, "x.npz", content), "must be a readable npz file")


def test_npz_with_a_flipped_byte(tmp_path):
    np.savez(tmp_path / "x.npz", train=X)
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[len(content) // 2] ^= 255
    refused(written(tmp_path, "y.npz", bytes(content)), "Bad CRC-32")


# --- HDF5


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1", "i1", ">f4"])
@pytest.mark.parametrize("options", [{}, {"chunks": (7, 6), "compression": "gzip"}])
def test_hdf5_of_ann_benchmarks(tmp_path, dtype, options):
    stored = np.abs(X).astype(dtype)
    ids, distances = np.zeros((2, 3), dtype="i4"), np.ones((2, 3), dtype="f4")
    path = hdf5(
        tmp_path / "x.hdf5",
        {"distance": "angular", "type": "dense", "point_type": "float"},
        train=stored,
        test=stored[:2],
        neighbors=ids,
        distances=distances,
    )
    found = files.read(path)
    assert found.metric == "cosine"
    assert np.array_equal(found.train, np.abs(X))
    assert np.array_equal(found.test, np.abs(X)[:2])
    assert np.array_equal(found.neighbors, ids)
    assert np.array_equal(found.distances, distances)
    whole = hdf5(tmp_path / "y.h5", options=options, train=stored)
    assert np.array_equal(files.read(whole).train, np.abs(X))


@pytest.mark.parametrize(
    ("stated", "metric"),
    [("euclidean", "l2"), (b"angular", "cosine"), ("dot", "ip"), ("ip", "ip")],
)
def test_hdf5_metrics(tmp_path, stated, metric):
    assert files.read(
        hdf5(tmp_path / "x.h5", {"distance": stated}, train=X)
    ).metric == (metric)


@pytest.mark.parametrize(
    ("stated", "point_type", "dtype", "metric"),
    [
        ("cosine", "float", "f4", "cosine"),
        ("normalized", "float", "f4", "cosine"),
        ("euclidean", "uint8", "u1", "l2"),
        ("cosine", "int8", "i1", "cosine"),
        ("ip", "float", "f2", "ip"),
    ],
)
def test_hdf5_of_vibe(tmp_path, stated, point_type, dtype, metric):
    stored = np.abs(X).astype(dtype)
    found = files.read(
        hdf5(
            tmp_path / "x.hdf5",
            {"distance": stated, "dimension": 6, "point_type": point_type},
            train=stored,
            test=stored[:2],
            neighbors=np.zeros((2, 3), dtype=int),
            distances=np.ones((2, 3)),
            avg_distances=np.ones(2),
            learn=stored[:7],
            learn_neighbors=np.zeros((7, 3), dtype="u4"),
        )
    )
    assert found.metric == metric
    assert np.array_equal(found.train, np.abs(X))
    assert found.train.dtype == dtype
    assert found.neighbors.shape == (2, 3)


def test_hdf5_of_bits_is_refused_by_its_metric(tmp_path):
    attributes = {"distance": "hamming", "dimension": 48, "point_type": "binary"}
    packed = np.abs(X).astype("u1")
    path = hdf5(tmp_path / "x.hdf5", attributes, train=packed, test=packed[:2])
    refused(path, "point_type must be float, uint8 or int8, got 'binary'")


Y = {"train": X, "test": X[:2]}


@pytest.mark.parametrize(
    ("attrs", "arrays", "message"),
    [
        ({}, {}, r"needs the dataset 'train', got \[\]"),
        ({}, {"test": X}, r"needs the dataset 'train', got \['test'\]"),
        ({"distance": "hamming"}, Y, "metric must be one of .* got 'hamming'"),
        ({"distance": 3}, Y, "attribute 'distance' must be text, got"),
        ({"distance": np.zeros(3)}, Y, "attribute 'distance' must be text, got"),
        ({"type": "sparse"}, Y, "type must be 'dense', got 'sparse'"),
        ({"point_type": "bit"}, Y, "point_type must be float, .* got 'bit'"),
        ({}, {"train": X[0]}, r"train: shape must be \(n, d\) .* got \(6,\)"),
        ({}, {"train": X[:0]}, r"train: shape must be .* got \(0, 6\)"),
        ({}, {"train": X > 0}, "train: dtype must be float or integer, got bool"),
        (
            {},
            {"train": ["a", "b"]},
            "train: dtype must be float or integer, got object",
        ),
        ({}, {"train": h5py.Empty("f4")}, "train must be a dataset"),
        ({}, {"train": X, "test": X[:, 1:]}, "as wide as train, d=6, got d=5"),
        (
            {},
            Y | {"neighbors": X[:3], "distances": X[:3]},
            r"neighbors must have shape \(nq=2, k\), got \(3, 6\)",
        ),
        (
            {},
            Y | {"neighbors": X[:2], "distances": X[:2, 1:]},
            r"distances must have shape \(nq=2, k\), got \(2, 5\)",
        ),
        (
            {},
            Y | {"neighbors": X[:2] / 2, "distances": X[:2]},
            "neighbors must be integers, got float64",
        ),
    ],
)
def test_malformed_hdf5(tmp_path, attrs, arrays, message):
    refused(hdf5(tmp_path / "x.hdf5", attrs, **arrays), message)


def test_hdf5_without_distances_has_no_truth(tmp_path):
    found = files.read(hdf5(tmp_path / "x.hdf5", **Y, neighbors=X[:2]))
    assert found.neighbors is None


def test_hdf5_that_points_elsewhere(tmp_path):
    secret = hdf5(tmp_path / "secret.hdf5", train=X)
    (tmp_path / "secret.raw").write_bytes(X.astype("f4").tobytes())
    layout = h5py.VirtualLayout(shape=X.shape, dtype="f4")
    layout[:] = h5py.VirtualSource(secret, "train", shape=X.shape)
    raw = [(str(tmp_path / "secret.raw"), 0, X.size * 4)]
    for number, link in enumerate(["external", "soft", "virtual", "raw", "group"]):
        path = tmp_path / f"{number}.hdf5"
        with h5py.File(path, "w") as file:
            if link == "external":
                file["train"] = h5py.ExternalLink(secret, "train")
            elif link == "soft":
                file["other"] = X
                file["train"] = h5py.SoftLink("/other")
            elif link == "virtual":
                file.create_virtual_dataset("train", layout)
            elif link == "raw":
                file.create_dataset("train", X.shape, "f4", external=raw)
            else:
                file.create_group("train")
        refused(path, r"train must be (stored in the file, got|a dataset, got)")


@pytest.mark.parametrize("options", [{}, {"chunks": (1024, 1024)}])
def test_hdf5_that_declares_what_it_does_not_hold(tmp_path, options):
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("train", (2**40, 2**20), "f4", **options)
    refused(path, "declared bytes must be at most 200 times the 0 stored bytes")


def test_hdf5_bomb(tmp_path):
    path = hdf5(
        tmp_path / "x.hdf5",
        options={"chunks": (65_536, 16), "compression": "gzip"},
        train=np.zeros((2**20, 16), dtype="f4"),
    )
    refused(path, "train: declared bytes must be at most 200 times")


@pytest.mark.parametrize("cut", [0, 7, 100, -1])
def test_truncated_hdf5(tmp_path, cut):
    content = hdf5(tmp_path / "x.hdf5", train=X.astype("f4")).read_bytes()
    path = written(tmp_path, "y.hdf5", content[:cut])
    refused(path, "must be a readable HDF5 file")


def test_hdf5_with_damaged_chunks(tmp_path):
    options = {"chunks": (50, 6), "compression": "gzip", "fletcher32": True}
    path = hdf5(tmp_path / "x.hdf5", options=options, train=X)
    with h5py.File(path) as file:
        at = file["train"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[at + 20] ^= 255
    refused(written(tmp_path, "y.hdf5", bytes(content)), "must be a readable HDF5 file")


def test_hdf5_whose_attributes_crash_the_library(tmp_path, monkeypatch):
    path = hdf5(tmp_path / "x.hdf5", {"distance": "angular"}, train=X)
    script = written(tmp_path, "hdf5_attributes.py", b"import os; os.abort()")
    monkeypatch.setattr(hdf5_module, "__file__", str(script))
    refused(path, "must have readable attributes, the HDF5 library gave exit status -6")
    script.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(hdf5_module, "_CHILD_S", 0.1)
    refused(path, r"the HDF5 library gave no answer in 0.1 s")


# --- parquet


def parquet(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float32()),
        pa.list_(pa.float64()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float16(), 6),
        pa.list_(pa.int8(), 6),
    ],
)
def test_parquet(tmp_path, kind):
    rows = pa.array([row.astype(kind.value_type.to_pandas_dtype()) for row in X], kind)
    path = tmp_path / "x.parquet"
    table = pa.table({"id": np.arange(50), "emb": rows})
    pq.write_table(table, path, row_group_size=17)
    found = files.read(path)
    assert np.array_equal(found.train, X)


def test_parquet_prefers_the_usual_name(tmp_path):
    path = parquet(tmp_path / "x.parquet", tags=[[1]] * 50, embedding=X.tolist())
    assert np.array_equal(files.read(path).train, X)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": [1, 2]}, r"needs one column of lists of numbers, .* got \['id'\]"),
        ({"a": [[1.0]], "b": [[2.0]]}, r"needs one column .* got \['a', 'b'\]"),
        ({"a": [["x"]]}, "needs one column of lists of numbers"),
        ({"a": [[1.0, 2.0], [1.0]]}, "rows must have one width d, got 1 to 2"),
        ({"a": [[1.0, 2.0], None]}, "rows must not be null, got 1"),
        ({"a": [[1.0, None]]}, "values must not be null, got 1"),
        ({"a": pa.array([[], []], pa.list_(pa.float32()))}, r"n, d >= 1, got \(2, 0\)"),
        ({"a": pa.array([], pa.list_(pa.float32()))}, "one width d, got"),
    ],
)
def test_malformed_parquet(tmp_path, columns, message):
    refused(parquet(tmp_path / "x.parquet", **columns), message)


def test_parquet_rows_of_another_width_in_another_group(tmp_path):
    path = tmp_path / "x.parquet"
    rows = [[1.0, 2.0]] * 5 + [[1.0, 2.0, 3.0]] * 5
    pq.write_table(pa.table({"a": rows}), path, row_group_size=5)
    refused(path, "rows must have one width d, got ")


def test_parquet_bomb(tmp_path):
    rows = pa.FixedSizeListArray.from_arrays(
        pa.array(np.zeros(2_000_000, dtype="f4")), 100
    )
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": rows}), path, compression="zstd")
    refused(path, "column 'a': declared bytes must be at most 200 times")


@pytest.mark.parametrize("cut", [0, 3, 200, -1])
def test_truncated_parquet(tmp_path, cut):
    content = parquet(tmp_path / "x.parquet", a=X.tolist()).read_bytes()
    path = written(tmp_path, "y.parquet", content[:cut])
    refused(path, "must be a readable parquet file")
