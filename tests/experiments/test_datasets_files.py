"""Local files: every format read, and no malformed or hostile one believed."""

import gzip
import io
import struct
import tracemalloc
import warnings
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
    with pytest.raises(ValueError, match=r"suffix must be one of .hdf5, .*got '.mat'"):
        files.read(tmp_path / "a.mat")
    with pytest.raises(FileNotFoundError, match="no such file"):
        files.read(tmp_path / "a.npy")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(FileNotFoundError, match="no such file"):
        files.read(tmp_path / "folder.npy")


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_npy(tmp_path, version):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, X.astype("f4"), version=version)
    found = files.read(written(tmp_path, "x.npy", stream.getvalue()))
    assert np.array_equal(found.train, X)


@pytest.mark.parametrize("names", [("x", "y"), ("größe", "日")])
def test_fields_of_a_structured_npy_are_named(tmp_path, names):
    array = np.zeros(4, [(name, "f4") for name in names])
    path = tmp_path / "x.npy"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the newer version
        np.save(path, array)
    refused(path, f"a structured array with the fields {names[0]}, {names[1]}")


# --- DiskANN, whose suffix is that of word2vec, too


def test_diskann(tmp_path):
    found = files.read(written(tmp_path, "x.bin", bins(X, "<f4")))
    assert np.array_equal(found.train, X)
    assert found.train.dtype == np.float32


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bins(X, "i1"), r"got 50 × 6 values of 1 byte .* \.i8bin or \.u8bin"),
        (bins(X, "<f4")[:-1], "takes 1208 bytes for n=50, d=6, .* got 1207 bytes"),
        (bins(X, "<f8"), "must be of DiskANN, .* or of word2vec"),
        (bytes(8), "takes 8 bytes for n=0, d=0"),
        (b"abc", "size must be at least 8 bytes, got 3"),
        (b"\x1f\x8b12345678", "must be unpacked first"),
    ],
)
def test_other_files_of_its_suffix(tmp_path, content, message):
    refused(written(tmp_path, "x.bin", content), message)


# --- text


def lines(array, separator, form="{}"):
    rows = (separator.join(map(form.format, row)) for row in array)
    return "".join(f"{row}\n" for row in rows)


SEPARATORS = {",": ",", ";": ";", "tab": "\t", "space": " ", "spaces": "  "}
HEADS = {
    "none": "",
    "comment": "# made by numpy\n",
    "names": "a.b{0}x y{0}{0}c{0}d{0}e\n",
    "numbers": "0{0}1{0}2{0}3{0}4{0}5\n",
}


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("head", ["none", "comment", "numbers"])
@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.txt"])
def test_matrices_of_text(tmp_path, separator, head, name):
    sign = SEPARATORS[separator]
    content = (HEADS[head].format(sign) + lines(X / 8, sign)).encode()
    content = gzip.compress(content) if name.endswith("gz") else content
    found = files.read(written(tmp_path, name, content))
    assert np.array_equal(found.train, X / 8)
    assert (found.test, found.metric) == (None, None)


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.txt"])
@pytest.mark.parametrize("form", ["{}", '"{}"'])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_columns_may_have_names(tmp_path, name, form, encoding):
    sign = "\t" if name == "x.tsv" else ","
    head = sign.join(["größe", "a.b", "x y", "1st", "日本", "."])
    content = f"{head}\r\n\r\n{lines(X, sign, form)}".encode(encoding)
    assert np.array_equal(files.read(written(tmp_path, name, content)).train, X)


def test_what_savetxt_writes(tmp_path):
    for name in ("x.txt", "x.csv"):
        np.savetxt(tmp_path / name, X / 3, header="rows of X")
        assert np.array_equal(files.read(tmp_path / name).train, X / 3)
    np.savetxt(tmp_path / "x.csv.gz", X / 3, delimiter=",")
    assert np.array_equal(files.read(tmp_path / "x.csv.gz").train, X / 3)


COUNTED = lines([[i, *row] for i, row in enumerate(X / 8)], ",")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must hold at least 1 vector, got none"),
        ("a,b\n", "must hold at least 1 vector, got none"),
        ("1,2\n3\n", "must be a readable CSV file: .* columns changed from 2 to 1"),
        ("1,2\nx,3\n", "must be a readable CSV file: could not convert string 'x'"),
        ("1,2\n,3\n", "must be a readable CSV file: could not convert string ''"),
        ("word,a,b\ncat,1,2\n", "could not convert string 'cat'"),
        ("Label,a,b\n7,1,2\n", "every column must be a coordinate .* named 'Label'"),
        (",0,1\n0,1,2\n", "every column must be a coordinate .* named ''"),
        (COUNTED, r"a first one that counts the rows: .*index=False in pandas"),
        (b"1,2\n\xff,3\n", "must be a readable CSV file: 'utf-8' codec"),
        (gzip.compress(b"1,2\n", mtime=0), "must be a readable CSV file"),
    ],
)
def test_other_text_is_refused(tmp_path, content, message):
    content = content if isinstance(content, bytes) else content.encode()
    refused(written(tmp_path, "x.csv", content), message)


@pytest.mark.parametrize(
    "content", [b"\x1f\x8b", b"1,2\n", gzip.compress(b"1,2", mtime=0)[:-9]]
)
def test_what_is_no_gzip(tmp_path, content):
    refused(written(tmp_path, "x.csv.gz", content), "must be a readable CSV file")


def test_csv_bomb(tmp_path):
    content = gzip.compress(b"0,0,0,0\n" * 300_000)
    path = written(tmp_path, "x.csv.gz", content)
    refused(path, "declared bytes must be at most 200 times")


@pytest.mark.parametrize(
    "content",
    [
        "the 0.5 1\ncat 2 3\n",
        "2 2\n7 0.5 1\n12 2 3\n",  # nodes of a graph, by their numbers
        "7 0.5 1\ncat 2 3\n",
        "\ufeffthe 0.5 1\ncat 2 3\n",
    ],
)
def test_word_vectors_are_told_from_matrices(tmp_path, content):
    path = written(tmp_path, "x.txt", content.encode())
    assert np.array_equal(files.read(path).train, [[0.5, 1], [2, 3]])


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
        (
            {"train": X, "metric": ["l2", "ip"]},
            r"metric must be one .* got .*'l2' 'ip'",
        ),
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


def test_a_metric_may_be_an_array_of_one(tmp_path):
    np.savez(tmp_path / "x.npz", train=X, distance=["angular"])
    assert files.read(tmp_path / "x.npz").metric == "cosine"
    path = hdf5(tmp_path / "x.h5", train=X, distance=np.array([b"angular"]))
    assert files.read(path).metric == "cosine"
    path = hdf5(tmp_path / "y.h5", train=X, distance=X[:, :1])
    assert files.read(path).metric is None  # distances, and no name of one


@pytest.mark.parametrize(
    ("stated", "metric"),
    [
        ("euclidean", "l2"),
        (b"angular", "cosine"),
        ("dot", "ip"),
        ("ip", "ip"),
        (np.array([b"euclidean"]), "l2"),
        (["angular"], "cosine"),
        ([["dot"]], "ip"),
    ],
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
        pa.large_list(pa.int64()),
        pa.large_list(pa.float16()),
    ],
)
def test_parquet(tmp_path, kind):
    dtype = pa.array([], kind.value_type).to_numpy().dtype
    rows = pa.array(list(X.astype(dtype)), kind)
    path = tmp_path / "x.parquet"
    table = pa.table({"id": np.arange(50), "emb": rows})
    pq.write_table(table, path, row_group_size=17)
    found = files.read(path)
    assert np.array_equal(found.train, X)


@pytest.mark.parametrize("kind", [pa.list_view, pa.large_list_view])
@pytest.mark.parametrize("value", [pa.float16(), pa.float32(), pa.float64(), pa.int8()])
def test_parquet_of_views(tmp_path, kind, value):
    rows = pa.array([row.astype(value.to_pandas_dtype()) for row in X], kind(value))
    path = tmp_path / "x.parquet"
    try:
        pq.write_table(pa.table({"emb": rows}), path, row_group_size=17)
    except pa.ArrowNotImplementedError:
        pytest.skip("this pyarrow writes no views")
    assert np.array_equal(files.read(path).train, X)


def test_columns_may_have_dots(tmp_path):
    path = parquet(tmp_path / "x.parquet", **{"emb": X.tolist(), "emb.x": [[1.0]] * 50})
    assert np.array_equal(files.read(path).train, X)
    path = parquet(tmp_path / "y.parquet", **{"a.b.c": X.tolist(), "a": [1] * 50})
    assert np.array_equal(files.read(path).train, X)


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
