"""What comes in: every case of an argument for every public function that takes it.

A table has a row for each case and a column for each function. A row gives the cell of
all columns, then of those that differ: ``SAME``, the result that the same numbers give
as a plain float32 array (or that another value gives), or the message of a ValueError,
behind the argument's name.
"""

import datetime
import tempfile
from contextlib import contextmanager

import numpy as np
import pyarrow
import pytest
from scipy.sparse import csr_matrix, issparse

import ann
from ann import ANNTransformer
from tests.ann.data import gaussian

SAME = "the result that plain numbers give"
STRUCTURES = {
    "Flat": ann.Flat,
    "IVF": lambda metric="l2", **options: ann.IVF(metric, nlist=3, **options),
    "HNSW": lambda metric="l2", **options: ann.HNSW(
        metric, M=4, ef_construction=20, **options
    ),
}
CODECS = {
    "SQ": lambda: ann.SQ(),
    "SQ4": lambda: ann.SQ(bits=4),
    "PQ": lambda: ann.PQ(m=3),
    "PQ4": lambda: ann.PQ(m=2, nbits=4),
    "OPQ": lambda: ann.PQ(m=3, opq=True),
}
GOOD = np.round(gaussian(60, 6, seed=4) * 5) + 20  # whole numbers, none of them 0
ARGUMENT = np.round(gaussian(12, 6, seed=5) * 5) + 20
INDEXES = {name: make().add(GOOD) for name, make in STRUCTURES.items()}
TRAINED = {name: make().train(GOOD) for name, make in CODECS.items()}


@contextmanager
def unchanged_by_errors(index):
    """Check that a call that fails leaves an index as it was."""
    before, ntotal = index.search(GOOD, k=9), index.ntotal
    try:
        yield index
    except Exception:
        assert index.ntotal == ntotal
        np.testing.assert_array_equal(index.search(GOOD, k=9), before)
        raise


def check(column, value, plain, cell, name):
    """Compare what ``column(value)`` does with what a cell says."""
    if cell is SAME:
        for mine, expected in zip(column(value), column(plain), strict=True):
            mine, expected = (a.toarray() if issparse(a) else a for a in (mine, expected))
            np.testing.assert_array_equal(mine, expected, strict=True)
    else:
        error, message = cell if isinstance(cell, tuple) else (ValueError, cell)
        with pytest.raises(error, match=f"^{name} {message}" if name else message):
            column(value)


def cells(rows, columns):
    """Return every cell as a parameter set: its row, its column, what it says."""
    table = []
    for row, (value, everywhere, *rest) in rows.items():
        others = rest[0] if rest else {}
        for column in columns:
            named = [cell for part, cell in others.items() if part in column]
            cell = named[0] if named else everywhere
            table.append(pytest.param(value, column, cell, id=f"{row}-{column}"))
    return table


# --- vectors --------------------------------------------------------------------------


def add(name):
    def column(X):
        index = STRUCTURES[name]().add(GOOD)
        with unchanged_by_errors(index):
            assert index.add(X) is index
        return index.search(GOOD, k=9)

    return column


def trace(name):
    def column(Q):
        traces = INDEXES[name].trace(Q, k=4)
        return [array for each in traces for array in (each.ids, each.distances)]

    return column


def transformer(X=GOOD):
    return ANNTransformer(n_neighbors=2, M=4, ef_construction=20).fit(X)


def transformed(method):
    return lambda X: [getattr(transformer(), method)(X)]


def fitted(X):
    return transformer(X).index_.search(GOOD, k=2)


OURS = {  # and what the argument is called
    **{f"{name}.add": ("X", add(name)) for name in STRUCTURES},
    **{
        f"{name}.search": ("Q", lambda Q, name=name: INDEXES[name].search(Q, k=4))
        for name in STRUCTURES
    },
    **{f"{name}.trace": ("Q", trace(name)) for name in STRUCTURES},
    **{
        f"{name}.train": ("X", lambda X, make=make: make().train(X).arrays())
        for name, make in CODECS.items()
    },
    **{
        f"{name}.encode": ("X", lambda X, codec=codec: [codec.encode(X)])
        for name, codec in TRAINED.items()
    },
}
SCIKIT = {
    "ANNTransformer.fit": ("", fitted),
    "ANNTransformer.fit_transform": (
        "",
        lambda X: [ANNTransformer(n_neighbors=2).fit_transform(X)],
    ),
    "ANNTransformer.transform": ("", transformed("transform")),
    "ANNTransformer.kneighbors": ("", lambda X: transformer().kneighbors(X)),
    "ANNTransformer.kneighbors_graph": ("", transformed("kneighbors_graph")),
}
VECTORS = OURS | SCIKIT


def with_value(value, row=3, column=2):
    X = ARGUMENT.astype(np.longdouble)
    X[row, column] = value
    return X.astype(np.float64)


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def unaligned(X):
    shifted = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:]
    return shifted.view(X.dtype).reshape(X.shape)


def mapped(X):
    file = tempfile.TemporaryFile()  # noqa: SIM115  (the array keeps it open)
    file.write(X.tobytes())
    file.flush()
    return np.memmap(file, X.dtype, "r", shape=X.shape)


class Convertible:
    def __array__(self, dtype=None, copy=None):
        return ARGUMENT.astype(dtype)


def not_finite(value, place):
    ours = rf"must be finite in float32, got {value} in row {place}"
    sklearns = "Input X contains (NaN|infinity or a value too large)"
    return ours, {"ANNTransformer": sklearns}


def not_numbers(got, error=ValueError, sklearns="."):
    ours = f"must hold real numbers, got {got}"
    return ours, {"ANNTransformer": (error, sklearns)}


def too_long(norm):
    rule = rf"must have norms <= 1e\+18, .* got {norm} in row 3"
    codecs = rf"X must have norms <= 4e\+18, .* got {norm} in row 3"
    return rule, {
        "train": (ValueError, codecs[2:]),
        "encode": (ValueError, codecs[2:]),
        "transform": f"(X|Q) {rule}",
        "kneighbors": f"Q {rule}",
        "fit": f"X {rule}",
    }


NO_SAMPLES = {"ANNTransformer": r"Found array with 0 sample\(s\)"}
NO_FEATURES = {"ANNTransformer": r"Found array with 0 feature\(s\)"}


def shaped(shape, sklearns):
    message = rf"must have shape \(n, d\), got \({shape}\)"
    return message, {"ANNTransformer": sklearns}


def wide(width):
    """A wrong width; training starts anew from any."""
    free = {"train": SAME, "ANNTransformer.fit": SAME}
    message = f"must have d=6 columns, got {width}"
    return message, free | {"ANNTransformer": f"X has {width} features, but .* 6 feat"}


VECTOR_CASES = {
    # kinds of numbers
    **{
        kind: (ARGUMENT.astype(kind), SAME)
        for kind in (
            *("float16", "float32", "float64", "longdouble", ">f4", ">f8", ">i2"),
            *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        )
    },
    "bool": (ARGUMENT > 20, SAME),
    "list": (ARGUMENT.tolist(), SAME),
    "tuples": (tuple(map(tuple, ARGUMENT.tolist())), SAME),
    "list of arrays": (list(ARGUMENT), SAME),
    "convertible": (Convertible(), SAME),
    "data frame": (pyarrow.table({f"c{j}": ARGUMENT[:, j] for j in range(6)}), SAME),
    # layouts
    "Fortran": (np.asfortranarray(ARGUMENT), SAME),
    "transposed": (ARGUMENT.T.copy().T, SAME),
    "every other row": (np.repeat(ARGUMENT, 2, axis=0)[::2], SAME),
    "every other column": (np.repeat(ARGUMENT, 2, axis=1)[:, ::2], SAME),
    "rows backwards": (ARGUMENT[::-1], SAME),
    "columns backwards": (ARGUMENT[:, ::-1], SAME),
    "one row many times": (np.broadcast_to(ARGUMENT[0], (12, 6)), SAME),
    "unaligned": (unaligned(ARGUMENT), SAME),
    "read-only": (read_only(ARGUMENT), SAME),
    "memory-mapped": (mapped(ARGUMENT), SAME),
    # values
    "zero vector": (with_value(0) * (np.arange(12) != 3)[:, None], SAME),
    "negative zero": (with_value(-0.0), SAME),
    "subnormal": (with_value(1e-42), SAME),
    "large": (with_value(1e17), SAME),
    "NaN": (with_value(np.nan), *not_finite("nan", "3, column 2")),
    "infinity": (with_value(np.inf), *not_finite("inf", "3, column 2")),
    "minus infinity": (with_value(-np.inf), *not_finite("-inf", "3, column 2")),
    "beyond float32": (
        with_value(1e300),
        "must be finite in float32, got inf in row 3, column 2",
        {"ANNTransformer": "(X|Q) must be finite in float32, got inf in row 3, col"},
    ),
    "norm of 1e25": (with_value(1e25), *too_long(r"1e\+25")),
    "integers of 2**63": (
        np.where(ARGUMENT == ARGUMENT[3], 2**63, 1).astype(np.uint64)[2:],
        r"must have norms <= .e\+18, .* got .*e\+1. in row",
        {"ANNTransformer": r"must have norms <= 1e\+18, .* got .*e\+1. in row"},
    ),
    # no numbers
    "complex": (
        ARGUMENT.astype(complex),
        *not_numbers("dtype complex128", sklearns="Complex data not supported"),
    ),
    "objects": (
        ARGUMENT.astype(object),
        "must hold real numbers, got dtype object",
        {"ANNTransformer": SAME},  # scikit-learn converts them
    ),
    "None inside": (
        np.where(ARGUMENT > 20, ARGUMENT, None),
        *not_numbers("dtype object", sklearns="Input X contains NaN"),
    ),
    "strings": (ARGUMENT.astype(str), *not_numbers("dtype <U")),
    "bytes": (ARGUMENT.astype(bytes), *not_numbers(r"dtype \|S")),
    "dates": (
        np.full((12, 6), np.datetime64("2020-01-01")),
        *not_numbers("dtype datetime64", (TypeError, ValueError)),
    ),
    "durations": (
        np.full((12, 6), np.timedelta64(1, "s")),
        *not_numbers("dtype timedelta64", (TypeError, ValueError)),
    ),
    "records": (
        np.zeros((12, 6), [("a", "f4")]),
        *not_numbers(r"dtype \[\('a'", (TypeError, ValueError)),
    ),
    "sparse": (
        csr_matrix(ARGUMENT),
        *not_numbers("csr_matrix", TypeError, "Sparse data was passed .* dense"),
    ),
    "a string": ("vectors", *not_numbers("str")),
    "a dictionary": ({"a": 1}, *not_numbers("dict", (TypeError, ValueError))),
    "a set": ({1.0, 2.0}, *not_numbers("set", (TypeError, ValueError))),
    "a date": (datetime.date(2020, 1, 1), *not_numbers("date", (TypeError, ValueError))),
    "None": (
        None,
        "must hold real numbers, got NoneType",
        {"kneighbors": SAME, "ANNTransformer": "."},  # without X: the training data
    ),
    # shapes
    "ragged": (
        [[1.0, 2.0], [1.0]],
        (ValueError, "inhomogeneous"),
    ),
    "a number": (np.float32(3), *shaped("", "Expected 2D array, got scalar array")),
    "three dimensions": (
        ARGUMENT.reshape(12, 2, 3),
        *shaped("12, 2, 3", "Found array with dim 3"),
    ),
    "one dimension": (
        ARGUMENT[0],
        r"must have shape \(n, d\), got \(6,\)",
        {
            "search": SAME,  # one query
            "trace": SAME,
            "ANNTransformer": "Expected 2D array, got 1D array",
        },
    ),
    "nothing": (
        [],
        r"must have shape \(n, d\), got \(0,\)",
        {
            "search": r"must have at least 1 column, got \(1, 0\)",
            "trace": r"must have at least 1 column, got \(1, 0\)",
            "ANNTransformer": "Expected 2D array, got 1D array",
        },
    ),
    "one row": (
        ARGUMENT[:1],
        SAME,
        {"fit_transform": "n_neighbors must be <= n_samples_fit=1, got 3"},
    ),
    "no rows": (
        ARGUMENT[:0],
        SAME,
        {"train": "must have at least 1 row to train on, got 0", **NO_SAMPLES},
    ),
    "no columns": (
        ARGUMENT[:, :0],
        r"must have at least 1 column, got \(12, 0\)",
        NO_FEATURES,
    ),
    "no rows, no columns": (
        np.empty((0, 0)),
        r"must have at least 1 column, got \(0, 0\)",
        NO_SAMPLES,
    ),
    "too narrow": (
        ARGUMENT[:, :5],
        *wide(5),
    ),
    "too wide": (np.hstack([ARGUMENT, ARGUMENT]), *wide(12)),
    "no rows, too wide": (
        np.empty((0, 12)),
        "must have d=6 columns, got 12",
        {"train": "must have at least 1 row to train on, got 0", **NO_SAMPLES},
    ),
}


@pytest.mark.parametrize(("value", "column", "cell"), cells(VECTOR_CASES, VECTORS))
def test_vectors(value, column, cell):
    name, function = VECTORS[column]
    plain = value if value is None or cell is not SAME else as_plain(value)
    check(function, value, plain, cell, name)


def as_plain(value):
    """Return the numbers by way of Python's own, as a plain float32 array."""
    array = np.asarray(value)
    return np.array(array.tolist(), np.float32).reshape(array.shape)
