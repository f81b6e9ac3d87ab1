"""Input validation: every case of every argument, for every public function.

A table has a row for each case of a kind of argument, and a column for each function
that takes one. A row gives the value and the cell of all columns, then of those that
differ, by a part of their name. A cell is ``SAME``, where the result is that of the
plain value; or the message of a ValueError, behind the argument's name; or an error and
its message. Functions share validators: each of these is tested on every row through
one function, of the others a few rows show that they call it.
``test_no_argument_is_left_out`` compares the columns with the signatures.
"""

import datetime
import inspect
import re
import tempfile
from contextlib import contextmanager

import numpy as np
import pyarrow
import pytest
from scipy.sparse import csr_matrix, issparse

import ann
from ann import ANNTransformer
from tests.ann.data import gaussian

SAME = "the result of the plain value"
ALONE = "must be given with"

STRUCTURES = {
    "Flat": lambda metric="l2", **more: ann.Flat(metric, **more),
    "IVF": lambda metric="l2", **more: ann.IVF(metric, nlist=3, **more),
    "HNSW": lambda metric="l2", **more: ann.HNSW(
        metric, M=4, ef_construction=20, **more
    ),
}
CODECS = {
    "SQ": lambda: ann.SQ(),
    "SQ4": lambda: ann.SQ(bits=4),
    "PQ": lambda: ann.PQ(m=3),
    "PQ4": lambda: ann.PQ(m=2, nbits=4),
    "OPQ": lambda: ann.PQ(m=3, opq=True),
    "RaBitQ": lambda: ann.RaBitQ(bits=4),
}
PQS = ("PQ", "PQ4", "OPQ")
METRICS = ("l2", "ip", "cosine", "l1")
GOOD = np.round(gaussian(60, 6, seed=4) * 5) + 20  # whole numbers, none of them 0
MORE = np.round(gaussian(12, 6, seed=5) * 5) + 20
INDEXES = {name: make().add(GOOD) for name, make in STRUCTURES.items()}
CALIBRATED = STRUCTURES["HNSW"]().add(GOOD)
INDEXES["Flat[PQ, refine]"] = ann.Flat(codec=ann.PQ(m=3), refine=2).add(GOOD)
TRAINED = {name: make().train(GOOD) for name, make in CODECS.items()}
TRANSFORMER = ANNTransformer(n_neighbors=2, M=4, ef_construction=20).fit(GOOD)


def arrays(result):
    """Return all arrays of a result, whatever it is made of."""
    if isinstance(result, tuple | list):
        return [array for part in result for array in arrays(part)]
    return [result.toarray() if issparse(result) else np.asarray(result)]


def check(table, column, value, plain, cell):
    """Compare what a column's function does with what a cell says."""
    function = table[column]
    if cell is SAME:
        mine, expected = arrays(function(value)), arrays(function(plain))
        assert len(mine) == len(expected)
        for a, b in zip(mine, expected, strict=True):
            np.testing.assert_array_equal(a, b, strict=True)
        return
    name = argument(column)
    error, message = cell if isinstance(cell, tuple) else (ValueError, cell)
    ours = not column.startswith("ANNTransformer") and not isinstance(cell, tuple)
    with pytest.raises(error, match=f"^{name} {message}" if ours else message):
        function(value)


def argument(column):
    """Return the name in brackets."""
    return re.search(r"\((\w+)\)$", column).group(1)


# What a caller notices of a validator: a value that it converts, three that it refuses.
WIRING = ("list", "one row", "NaN", "None", "too wide")


def cells(rows, columns, whole, wiring=WIRING):
    """Return the cells of a table that are tested: value, column, what the cell says.

    Columns in ``whole``, one for each validator, have every row. Of the others the rows
    in ``wiring`` show that they use it, and they have each cell of their own that no
    column in ``whole`` shows.
    """
    table = []
    for row, (value, everywhere, *rest) in rows.items():
        differing = dict(*rest)
        unseen = [part for part in differing if not any(part in c for c in whole)]
        for column in columns:
            own = [cell for part, cell in differing.items() if part in column]
            if (
                column in whole
                or row in wiring
                or any(part in column for part in unseen)
            ):
                cell = (own or [everywhere])[0]
                table.append(pytest.param(value, column, cell, id=f"{row}-{column}"))
    assert set(whole) <= set(columns)
    return pytest.mark.parametrize(("value", "column", "cell"), table)


def as_plain(value):
    """Return the same numbers, by way of Python's own, as a float32 array."""
    if value is None:
        return None
    array = np.asarray(value)
    return np.array(array.tolist(), np.float32).reshape(array.shape)


@contextmanager
def unchanged_by_errors(index):
    """Check that a call that fails leaves an index as it was."""
    before, ntotal = index.search(GOOD, k=9), index.ntotal
    try:
        yield
    except Exception:
        assert index.ntotal == ntotal
        np.testing.assert_array_equal(index.search(GOOD, k=9), before)
        raise


def per(names, suffix, function):
    """Return columns ``name + suffix``, each calling ``function`` with its name."""
    return {
        f"{name}{suffix}": lambda value, name=name: function(name, value)
        for name in names
    }


# --- vectors --------------------------------------------------------------------------


def add(name, X, ids=None, metric="l2"):
    index = STRUCTURES[name](metric).add(GOOD)
    with unchanged_by_errors(index):
        assert index.add(X, ids=ids) is index
    return index.search(MORE, k=9)


def search(name, Q, k=4):
    return INDEXES[name].search(Q, k=k)


def trace(name, Q, k=4):
    return [(each.ids, each.distances) for each in INDEXES[name].trace(Q, k=k)]


def train(name, X):
    return CODECS[name]().train(X).arrays()


def fit(X):
    fitted = ANNTransformer(n_neighbors=2).fit(X)
    return fitted.index_.search(fitted._fit_X, k=2)


def replace(method):
    def replaced(name, X):
        index = STRUCTURES[name]().add(GOOD)
        rows = len(X) if hasattr(X, "__len__") and not issparse(X) else 12
        with unchanged_by_errors(index):
            getattr(index, method)(np.arange(rows), X)
        return index.search(GOOD, k=9)

    return replaced


def exact(name, Q, k=4):
    return INDEXES[name].exact(Q, k)


def within(name, Q, radius=9):
    ids, distances = INDEXES[name].range_search(Q, radius)
    return list(ids), list(distances)


def calibrate(Q, k=4):
    with unchanged_by_errors(CALIBRATED):
        assert CALIBRATED.calibrate(Q, k) is CALIBRATED
    return list(CALIBRATED.calibration)


VECTORS = {
    **per(STRUCTURES, ".add(X)", add),
    "HNSW.calibrate(Q)": calibrate,
    **per(STRUCTURES, ".search(Q)", search),
    **per(STRUCTURES, ".exact(Q)", exact),
    **per(STRUCTURES, ".trace(Q)", trace),
    **per(CODECS, ".train(X)", train),
    **per(CODECS, ".encode(X)", lambda name, X: TRAINED[name].encode(X)),
    "ANNTransformer.fit(X)": fit,
    "ANNTransformer.fit_transform(X)": ANNTransformer(n_neighbors=2).fit_transform,
    "ANNTransformer.transform(X)": TRANSFORMER.transform,
    "ANNTransformer.kneighbors(X)": TRANSFORMER.kneighbors,
    "ANNTransformer.kneighbors_graph(X)": TRANSFORMER.kneighbors_graph,
    **per(STRUCTURES, ".update(X)", replace("update")),
    **per(STRUCTURES, ".retrain(X)", replace("retrain")),
    **per(STRUCTURES, ".range_search(Q)", within),
}


def with_value(value):
    X = MORE.astype(np.float64)
    X[3, 2] = value
    return X


def with_zeros():
    return MORE * (np.arange(12) != 3)[:, None]


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def unaligned(X):
    shifted = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:]
    return shifted.view(X.dtype).reshape(X.shape)


def masked(X):
    """Hide three values, which nobody may see."""
    return np.ma.masked_array(X, np.arange(np.size(X)).reshape(np.shape(X)) < 3)


def mapped(X):
    with tempfile.TemporaryFile() as file:
        file.write(X.tobytes())
        file.flush()
        return np.memmap(file, X.dtype, "r", shape=X.shape)


class Convertible:
    def __array__(self, dtype=None, copy=None):
        return MORE.astype(dtype)


def not_finite(value):
    ours = rf"must be finite in float32, got {value} in row 3, column 2"
    sklearns = "Input X contains (NaN|infinity or a value too large)"
    return ours, {"ANNTransformer": sklearns}


def not_numbers(got, sklearns, error=ValueError):
    ours = f"must hold real numbers, got {got}"
    return ours, {"ANNTransformer": (error, sklearns)}


def misshapen(shape, sklearns):
    ours = rf"must have shape \(n, d\), got \({shape}\)"
    return ours, {"ANNTransformer": sklearns}


def too_long(norm):
    rule = f"must have norms <= {{}}, whose squares float32 can hold, got {norm} in row"
    ours, codecs = rule.format(r"1e\+18"), rule.format(r"4e\+18")
    clipped = {"SQ.encode": SAME, "SQ4.encode": SAME}
    return ours, clipped | {".train": codecs, ".encode": codecs}


def of_width(width):
    return (
        f"must have d=6 columns, got {width}",
        {
            "ANNTransformer.fit": SAME,  # these begin anew, with any width
            ".train": SAME,
            "ANNTransformer": f"X has {width} features, but ANNTransformer is expectin",
        },
    )


MASKED = "must have no masked values, got 3"
SCALAR = "Expected 2D array, got scalar array"
TEXT = "not compatible with arrays of bytes/strings"
NO_SAMPLES = {"ANNTransformer": r"Found array with 0 sample\(s\)"}
NO_ROWS = {".train": "must have at least 1 row to train on, got 0"}
NO_QUERIES = {".calibrate": "must have at least 1 row, got 0"}
NO_COLUMN = r"must have at least 1 column, got \({}\)"
NUMBERS = ["float16", "float32", "float64", "longdouble", ">f4", ">f8", ">i2"]
NUMBERS += ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
VECTOR_ROWS = {
    # kinds of numbers
    **{kind: (MORE.astype(kind), SAME) for kind in NUMBERS},
    "bool": (MORE > 20, SAME),
    "list": (MORE.tolist(), SAME),
    "tuples": (tuple(map(tuple, MORE.tolist())), SAME),
    "list of arrays": (list(MORE), SAME),
    "convertible": (Convertible(), SAME),
    "data frame": (
        pyarrow.table({f"c{j}": MORE[:, j] for j in range(6)}),
        SAME,
        {
            "ANNTransformer.fit": SAME,
            "ANNTransformer": (UserWarning, "X has feature names, but ANNTransformer"),
        },
    ),
    # layouts
    "Fortran": (np.asfortranarray(MORE), SAME),
    "every other row": (np.repeat(MORE, 2, axis=0)[::2], SAME),
    "every other column": (np.repeat(MORE, 2, axis=1)[:, ::2], SAME),
    "rows backwards": (MORE[::-1], SAME),
    "columns backwards": (MORE[:, ::-1], SAME),
    "one row many times": (np.broadcast_to(MORE[0], (12, 6)), SAME),
    "unaligned": (unaligned(MORE), SAME),
    "read-only": (read_only(MORE), SAME),
    "memory-mapped": (mapped(MORE), SAME),
    "nothing masked": (np.ma.masked_array(MORE), SAME),
    "masked": (masked(MORE), MASKED, {"ANNTransformer": f"X {MASKED}"}),
    # values
    "zero vector": (with_zeros(), SAME),
    "negative zero": (with_value(-0.0), SAME),
    "subnormal": (with_value(1e-42), SAME),
    "large": (with_value(1e17), SAME),
    "NaN": (with_value(np.nan), *not_finite("nan")),
    "infinity": (with_value(np.inf), *not_finite("inf")),
    "minus infinity": (with_value(-np.inf), *not_finite("-inf")),
    "beyond float32": (
        with_value(-1e300),
        "must be finite in float32, got -inf in row 3, column 2",
    ),
    "norm of 1e25": (with_value(1e25), *too_long(r"1e\+25")),
    "integers of 2**63": (
        np.where(np.arange(12)[:, None] == 3, np.uint64(2**63), np.ones(6, "u8")),
        *too_long(r"[0-9.]*e\+19"),
    ),
    # no numbers
    "complex": (
        MORE.astype(complex),
        *not_numbers("dtype complex128", "Complex data not supported"),
    ),
    "objects": (
        MORE.astype(object),
        "must hold real numbers, got dtype object",
        {"ANNTransformer": SAME},  # scikit-learn converts them
    ),
    "None inside": (
        np.where(MORE > 20, MORE, None),
        *not_numbers("dtype object", "Input X contains NaN"),
    ),
    "strings": (MORE.astype(str), *not_numbers("dtype <U", TEXT)),
    "bytes": (MORE.astype(bytes), *not_numbers(r"dtype \|S", TEXT)),
    "dates": (
        np.full((12, 6), np.datetime64("2020-01-01")),
        *not_numbers("dtype datetime64", "dtype datetime64"),
    ),
    "durations": (
        np.full((12, 6), np.timedelta64(1, "s")),
        *not_numbers("dtype timedelta64", "dtype timedelta64"),
    ),
    "records": (
        np.zeros((12, 6), [("a", "f4")]),
        *not_numbers(r"dtype \[\('a'", TEXT),
    ),
    "sparse": (
        csr_matrix(MORE),
        *not_numbers("csr_matrix", "Sparse data was passed for X, but de", TypeError),
    ),
    "a string": ("vectors", *not_numbers("str", SCALAR)),
    "a dictionary": ({"a": 1}, *not_numbers("dict", SCALAR)),
    "a set": ({1.0, 2.0}, *not_numbers("set", SCALAR)),
    "a date": (datetime.date(2020, 1, 1), *not_numbers("date", SCALAR)),
    "None": (
        None,
        "must hold real numbers, got NoneType",
        {
            ".retrain": ALONE,
            ".kneighbors": SAME,  # the training data
            ".transform": r"X must have shape \(n_queries, n_features\), got None",
            "ANNTransformer": SCALAR,
        },
    ),
    # shapes
    "ragged": ([[1.0, 2.0], [1.0]], (ValueError, "inhomogeneous shape")),
    "a number": (np.float32(3), *misshapen("", SCALAR)),
    "three dimensions": (
        MORE.reshape(12, 2, 3),
        *misshapen("12, 2, 3", "Found array with dim 3"),
    ),
    "one dimension": (
        MORE[0],
        r"must have shape \(n, d\), got \(6,\)",
        {
            "search(Q)": SAME,  # one query
            "exact(Q)": SAME,
            "trace(Q)": SAME,
            "calibrate(Q)": SAME,
            "ANNTransformer": "Expected 2D array, got 1D array",
        },
    ),
    "nothing": (
        [],
        r"must have shape \(n, d\), got \(0,\)",
        {
            "search(Q)": NO_COLUMN.format("1, 0"),
            "exact(Q)": NO_COLUMN.format("1, 0"),
            "trace(Q)": NO_COLUMN.format("1, 0"),
            "calibrate(Q)": NO_COLUMN.format("1, 0"),
            "ANNTransformer": "Expected 2D array, got 1D array",
        },
    ),
    "one row": (
        MORE[:1],
        SAME,
        {"fit_transform": "n_neighbors must be <= n_samples_fit=1, got 3"},
    ),
    "no rows": (MORE[:0], SAME, NO_ROWS | NO_QUERIES | NO_SAMPLES),
    "no columns": (
        MORE[:, :0],
        NO_COLUMN.format("12, 0"),
        {"ANNTransformer": r"Found array with 0 feature\(s\)"},
    ),
    "no rows, no columns": (np.empty((0, 0)), NO_COLUMN.format("0, 0"), NO_SAMPLES),
    "too narrow": (
        MORE[:, :4],
        of_width(4)[0],
        {
            "PQ.train": (ValueError, r"m must divide d=4: one of \[1, 2, 4\], got 3"),
            **of_width(4)[1],
        },
    ),
    "too wide": (np.hstack([MORE, MORE]), *of_width(12)),
    "no rows, too wide": (
        np.empty((0, 12)),
        "must have d=6 columns, got 12",
        NO_ROWS | NO_SAMPLES,
    ),
}


@cells(
    VECTOR_ROWS,
    VECTORS,
    whole=(
        *("Flat.add(X)", "HNSW.search(Q)", "SQ.train(X)", "PQ.encode(X)"),
        *("ANNTransformer.fit(X)", "ANNTransformer.kneighbors(X)"),
    ),
)
def test_vectors(value, column, cell):
    plain = as_plain(value) if cell is SAME else None
    check(VECTORS, column, value, plain, cell)


UNDER = {
    f"{name}[{metric}].{method}": lambda value, name=name, metric=metric, do=do: do(
        STRUCTURES[name](metric).add(GOOD), value
    )
    for name in STRUCTURES
    for metric in METRICS
    for method, do in {
        "add(X)": lambda index, X: index.add(X).search(GOOD, k=9),
        "search(Q)": lambda index, Q: index.search(Q, k=4),
        "trace(Q)": lambda index, Q: [t.distances for t in index.trace(Q, k=4)],
    }.items()
}
UNDER |= {
    f"ANNTransformer[{metric}].fit_transform(X)": ANNTransformer(
        n_neighbors=2, metric=metric
    ).fit_transform
    for metric in ("l2", "l1", "cosine")
}
UNDER_ROWS = {
    "zero vector": (
        with_zeros(),
        SAME,
        {"[cosine]": "must have no zero vector under the cosine metric, got norm 0"},
    ),
    "norm of 1e17": (with_value(1e17), SAME),
    "norm of 1e25": (
        with_value(1e25),
        too_long(r"1e\+25")[0],
        {"[cosine]": SAME},  # which scales it to 1
    ),
    "norm of 1e-40": (with_zeros() + np.float64(1e-40) * (with_zeros() == 0), SAME),
}


@cells(
    UNDER_ROWS,
    UNDER,
    whole=[column for column in UNDER if column.startswith(("HNSW", "ANNT"))],
    wiring=["zero vector"],
)
def test_vectors_under_each_metric(value, column, cell):
    check(UNDER, column, value, as_plain(value), cell)


SOME_CODES = TRAINED["RaBitQ"].encode(GOOD[:3])
ONE = {
    **per(PQS, ".adc_table(q)", lambda name, q: TRAINED[name].adc_table(q)),
    "RaBitQ.estimate(q)": lambda q: TRAINED["RaBitQ"].estimate(q, SOME_CODES),
    **per(STRUCTURES, ".search(Q)", search),
    **per(STRUCTURES, ".exact(Q)", exact),
    **per(STRUCTURES, ".trace(Q)", trace),
}


def one_shaped(shape):
    """What is of one query; a search may be of many."""
    refused = (ValueError, rf"q must have shape \(d,\), got \({shape}\)")
    return {"adc_table": refused, "estimate": refused}


ONE_ROWS = {
    **{kind: (MORE[0].astype(kind), SAME) for kind in NUMBERS},
    "list": (MORE[0].tolist(), SAME),
    "every other": (np.repeat(MORE[0], 2)[::2], SAME),
    "backwards": (MORE[0][::-1], SAME),
    "read-only": (read_only(MORE[0].astype(np.float32)), SAME),
    "unaligned": (unaligned(MORE[0].astype(np.float32)), SAME),
    "zero vector": (np.zeros(6, np.float32), SAME),
    "masked": (masked(MORE[0]), MASKED),
    "NaN": (
        with_value(np.nan)[3].astype(np.float32),
        "must be finite in float32, got nan in row 0, column 2",
    ),
    "infinity": (
        with_value(np.inf)[3].astype(np.float32),
        "must be finite in float32, got inf in row 0, column 2",
    ),
    "beyond float32": (with_value(1e39)[3], "must be finite in float32, got inf in r"),
    "norm of 1e25": (
        with_value(1e25)[3].astype(np.float32),
        too_long(r"1e\+25")[0],
        dict.fromkeys(("adc_table", "estimate"), too_long(r"1e\+25")[1][".train"]),
    ),
    "objects": (MORE[0].astype(object), "must hold real numbers, got dtype object"),
    "strings": (MORE[0].astype(str), "must hold real numbers, got dtype <U"),
    "None": (None, "must hold real numbers, got NoneType"),
    "many": (MORE, SAME, one_shaped("12, 6")),
    "a number": (
        3.0,
        r"must have shape \(n, d\), got \(\)",
        one_shaped(""),
    ),
    "nothing": ([], NO_COLUMN.format("1, 0")),
    "too narrow": (MORE[0, :5], "must have d=6 columns, got 5"),
    "too wide": (np.ones(7, np.float32), "must have d=6 columns, got 7"),
}


@cells(ONE_ROWS, ONE, whole=["PQ.adc_table(q)", "RaBitQ.estimate(q)", "HNSW.search(Q)"])
def test_one_vector(value, column, cell):
    plain = as_plain(value) if cell is SAME else None
    check(ONE, column, value, plain, cell)


def test_what_is_not_trained_does_nothing():
    for make in CODECS.values():
        for call in ("encode", "decode"):
            with pytest.raises(ValueError, match=r"must be trained first: call train"):
                getattr(make(), call)(GOOD)
    with pytest.raises(ValueError, match=r"PQ must be trained first: call train"):
        ann.PQ(m=3).adc_table(GOOD[0])


# --- codes ----------------------------------------------------------------------------

CODES = {
    **per(CODECS, ".decode(codes)", lambda name, codes: TRAINED[name].decode(codes)),
    "RaBitQ.estimate(codes)": lambda codes: TRAINED["RaBitQ"].estimate(GOOD[0], codes),
}


def code_rows(good, top):
    width = good.shape[1]

    def spoilt(value):
        codes = good.astype(np.int64)
        codes[4, 1] = value
        return codes

    shape = rf"must have shape \(n, {width}\), got \({{}}\)"
    whole = {kind: good.astype(kind) for kind in ("uint8", "int64", ">i2", "uint64")}
    layouts = {
        "list": good.tolist(),
        "Fortran": np.asfortranarray(good.astype(np.uint8)),
        "every other": np.repeat(good, 2, axis=0)[::2],
        "backwards": good[::-1],
        "read-only": read_only(good.astype(np.uint8)),
        "memory-mapped": mapped(good.astype(np.uint8)),
        "no rows": good[:0],
    }
    return {
        **{row: (codes, SAME) for row, codes in (whole | layouts).items()},
        "too large": (spoilt(top + 1), rf"must be in \[0, {top}\], got {top + 1}"),
        "negative": (spoilt(-1), rf"must be in \[0, {top}\], got -1"),
        "floats": (good.astype(float), "must be integers, got dtype float64"),
        "bools": (good > 1, "must be integers, got dtype bool"),
        "objects": (good.astype(object), "must be integers, got dtype object"),
        "strings": (good.astype(str), "must be integers, got dtype <U"),
        "complex": (good.astype(complex), "must be integers, got dtype complex128"),
        "masked": (masked(good), MASKED),
        "None": (None, "must be integers, got dtype object"),
        "nothing": ([], "must be integers, got dtype float64"),
        "one dimension": (good[0], shape.format(f"{width},")),
        "three dimensions": (good[None], shape.format(f"1, 9, {width}")),
        "too narrow": (good[:, 1:], shape.format(f"9, {width - 1}")),
        "too wide": (np.hstack([good, good]), shape.format(f"9, {2 * width}")),
    }


@pytest.mark.parametrize("column", CODES)
@pytest.mark.parametrize("row", code_rows(np.zeros((9, 2), int), 15))
def test_codes(column, row):
    name = column.partition(".")[0]
    good = TRAINED[name].encode(GOOD[:9])
    top = 15 if name in ("SQ4", "PQ4") else 255
    value, cell = code_rows(good, top)[row]
    plain = None
    if cell is SAME:
        plain = np.array(np.asarray(value).tolist(), np.uint8).reshape(
            -1, good.shape[1]
        )
    check(CODES, column, value, plain, cell)


# --- how many neighbours --------------------------------------------------------------

KS = {
    **per(INDEXES, ".search(k)", lambda name, k: search(name, MORE, k)),
    **per(INDEXES, ".exact(k)", lambda name, k: exact(name, MORE, k)),
    **per(INDEXES, ".trace(k)", lambda name, k: trace(name, MORE, k)),
    "HNSW.calibrate(k)": lambda k: calibrate(MORE, k),
    "ANNTransformer.kneighbors(n_neighbors)": lambda k: TRANSFORMER.kneighbors(MORE, k),
    "ANNTransformer.kneighbors_graph(n_neighbors)": (
        lambda k: TRANSFORMER.kneighbors_graph(MORE, k)
    ),
}
NEVER_ABOVE_60 = {"ANNTransformer": "n_neighbors must be <= n_samples_fit=60, got "}


def no_count(k):
    ours = rf"must be in \[1, 2147483647\], got {k}$"
    return ours, {"ANNTransformer": f"n_neighbors must be >= 1, got {k}$"}


K_ROWS = {
    "one": (1, SAME),
    "int8": (np.int8(3), SAME),
    "uint64": (np.uint64(3), SAME),
    "array of no dimension": (np.array(3), SAME),
    "n": (60, SAME),
    "above n": (61, SAME, NEVER_ABOVE_60),
    "zero": (0, *no_count(0)),
    "negative": (-3, *no_count(-3)),
    "too large": (2**31, no_count(2**31)[0], NEVER_ABOVE_60),
    "beyond integers": (
        2**63,
        no_count(2**63)[0],
        {"ANNTransformer": r"must be <= 2\*\*63 - 1, got 9223372036854775808"},
    ),
    "whole float": (2.0, "must be an integer, got 2.0"),
    "numpy float": (np.float32(2), "must be an integer, got np.float32"),
    "NaN": (np.nan, "must be an integer, got nan"),
    "infinity": (np.inf, "must be an integer, got inf"),
    "bool": (True, "must be an integer, got True"),
    "numpy bool": (np.True_, "must be an integer, got np.True_"),
    "string": ("3", "must be an integer, got '3'"),
    "None": (None, "must be an integer, got None", {"ANNTransformer": SAME}),
    "list": ([3], r"must be an integer, got \[3\]"),
    "array": (np.array([3]), r"must be an integer, got array\(\[3\]\)"),
}


@cells(
    K_ROWS,
    KS,
    whole=["HNSW.search(k)", "ANNTransformer.kneighbors(n_neighbors)"],
    wiring=["int8", "above n", "zero", "whole float"],
)
def test_number_of_neighbours(value, column, cell):
    plain = 2 if value is None else int(value) if cell is SAME else None
    check(KS, column, value, plain, cell)


@pytest.mark.parametrize("name", INDEXES)
@pytest.mark.parametrize("k", [60, 75])
def test_more_neighbours_than_vectors(name, k):
    for ids, distances in (
        search(name, MORE, k),
        search(name, MORE[0], k),
        *trace(name, MORE, k),
    ):
        rows, far = np.atleast_2d(ids), np.atleast_2d(distances)
        assert (np.sort(rows[:, :60]) == np.arange(60)).all()
        assert (np.diff(far[:, :60]) >= 0).all()
        assert (rows[:, 60:] == -1).all()
        assert np.isposinf(far[:, 60:]).all()


# --- ids ------------------------------------------------------------------------------

NEW = [103, 101, 100, 102]
UNIQUE = "must be unique, got {} more than once"
IDS = per(STRUCTURES, ".add(ids)", lambda name, ids: add(name, MORE[:4], ids))


def id_forms(ids):
    array = np.array(ids)
    return {
        "list": ids,
        "tuple": tuple(ids),
        "range": range(min(ids), max(ids) + 1),
        **{kind: array.astype(kind) for kind in ("int8", "uint64", ">i8", "uint16")},
        "every other": np.repeat(array, 2)[::2],
        "backwards": array[::-1],
        "read-only": read_only(array),
        "memory-mapped": mapped(array),
        "list of numpy integers": list(array),
    }


def id_errors(ids):
    a, b, c, _ = ids
    whole = "must be integers, got dtype {}"
    largest = r"must be in \[0, 2\*\*63 - 1\], got {}"
    return {
        "negative": ([a, b, c, -1], largest.format(-1)),
        "repeated": ([a, b, c, b], UNIQUE.format(b)),
        "beyond integers": (
            np.array([a, b, c, 2**63], np.uint64),
            largest.format(2**63),
        ),
        "far beyond": ([a, b, c, 2**64], whole.format("object")),
        "floats": ([float(i) for i in ids], whole.format("float64")),
        "NaN": ([a, b, c, np.nan], whole.format("float64")),
        "bools": ([True, False, True, False], whole.format("bool")),
        "objects": (np.array(ids, object), whole.format("object")),
        "None inside": ([a, b, c, None], whole.format("object")),
        "strings": ([str(i) for i in ids], whole.format("<U")),
        "complex": (np.array(ids, complex), whole.format("complex128")),
        "dates": (np.array(ids, "M8[s]"), whole.format("datetime64")),
        "a set": (set(ids), whole.format("object")),
        "a generator": (iter(ids), whole.format("object")),
        "masked": (masked(np.array(ids)), MASKED),
        "a number with a point": (3.5, whole.format("float64")),
        "ragged": ([[a, b], [c]], (ValueError, "inhomogeneous shape")),
    }


ID_ROWS = {
    **{form: (ids, SAME) for form, ids in id_forms(NEW).items()},
    **id_errors(NEW),
    "largest": ([2**63 - 1, 2**62, 2**53 + 1, 2**31], SAME),
    "None": (None, SAME),  # by order of arrival
    "taken": ([100, 101, 5, 102], UNIQUE.format(5)),
    "too few": ([100, 101, 102], r"must have shape \(4,\), got \(3,\)"),
    "too many": (range(100, 105), r"must have shape \(4,\), got \(5,\)"),
    "none": ([], r"must have shape \(4,\), got \(0,\)"),
    "two dimensions": ([NEW], r"must have shape \(4,\), got \(1, 4\)"),
    "a number": (100, r"must have shape \(4,\), got \(\)"),
}


@cells(ID_ROWS, IDS, whole=["Flat.add(ids)"], wiring=["list", "taken", "too few"])
def test_ids(value, column, cell):
    plain = None if value is None or cell is not SAME else np.array(list(value))
    check(IDS, column, value, plain, cell)


def test_ids_of_no_vectors():
    index = ann.Flat().add(GOOD)
    for ids in ([], None, np.empty(0, np.int64)):
        assert index.add(MORE[:0], ids=ids).ntotal == 60
    with pytest.raises(ValueError, match=r"ids must have shape \(0,\), got \(1,\)"):
        index.add(MORE[:0], ids=[100])


# --- ids of vectors that are there ----------------------------------------------------

THERE = [3, 41, 0, 59]


def remove(name, ids):
    index = STRUCTURES[name]().add(GOOD)
    with unchanged_by_errors(index):
        index.remove(ids)
    return index.search(GOOD, k=60), index.ntotal


def replace_ids(method):
    def replaced(name, ids):
        index = STRUCTURES[name]().add(GOOD)
        with unchanged_by_errors(index):
            getattr(index, method)(ids, MORE[:4])
        return index.search(GOOD, k=60), index.ntotal

    return replaced


def search_among(name, ids):
    return INDEXES[name].search(MORE, k=5, filter=ids)


def search_among_prepared(name, ids):
    return search_among(name, INDEXES[name].prepare_filter(ids))


KNOWN_IDS = {
    **per(STRUCTURES, ".remove(ids)", remove),
    **per(STRUCTURES, ".update(ids)", replace_ids("update")),
    **per(STRUCTURES, ".retrain(ids)", replace_ids("retrain")),
}
NOT_FOUR = r"must have shape \(4,\), got \({},\)"
KNOWN_ID_ROWS = {
    **{form: (ids, SAME) for form, ids in id_forms(THERE).items()},
    **id_errors(THERE),
    "range": (range(4), SAME),
    "unknown": ([3, 41, 60, 0], "must be in the index, got 60"),
    "none": ([], SAME, {"update": NOT_FOUR.format(0), "retrain": NOT_FOUR.format(0)}),
    "too few": (
        [3],
        SAME,
        {"update": NOT_FOUR.format(1), "retrain": NOT_FOUR.format(1)},
    ),
    "two dimensions": ([THERE], r"must have shape \(.*\), got \(1, 4\)"),
    "a number": (3, r"must have shape \(.*\), got \(\)"),
    "None": (None, "must be integers, got dtype object", {".retrain": ALONE}),
}
FILTERS = {
    **per(STRUCTURES, ".search(filter)", search_among),
    **per(STRUCTURES, ".prepare_filter(filter)", search_among_prepared),
}
MASK = np.arange(60) % 3 == 0
THIRD, ALL = np.flatnonzero(MASK), np.arange(60)
NO_FILTER = r"must be a mask \(m,\), ids \(m,\) or a function, .* got {}"
NO_KIND = "must be of bool or of integers, got dtype {}"
NO_MASK = r"must return bool of shape \(60,\)"


def broken(ids):
    raise KeyError("mine")


FILTER_ROWS = {  # a filter, and the ids that pass or what is wrong
    "mask": (MASK, THIRD),
    "list of bools": (MASK.tolist(), THIRD),
    "every other": (np.repeat(MASK, 2)[::2], THIRD),
    "read-only": (read_only(MASK), THIRD),
    "all": (np.ones(60, bool), ALL),
    "none": (np.zeros(60, bool), []),
    "short mask": (MASK[:30], THIRD[:10]),
    "long mask": (np.ones(99, bool), ALL),
    **{form: (ids, list(ids)) for form, ids in id_forms(THERE).items()},
    "no ids": ([], []),
    "repeated": ([3, 41, 3], [3, 41]),
    "negative": ([3, -1], [3]),
    "unknown": ([3, 60, 10**12], [3]),
    "beyond integers": (np.array([3, 2**63], np.uint64), [3]),
    "masked": (masked(MASK), MASKED),
    "function": (lambda ids: ids % 3 == 0, THIRD),
    "two dimensions": (MASK[None], NO_FILTER.format(r"ndarray of shape \(1, 60\)")),
    "a number": (3, NO_FILTER.format(r"int of shape \(\)")),
    "a string": ("even", NO_FILTER.format(r"str of shape \(\)")),
    "a set": ({3}, NO_FILTER.format(r"set of shape \(\)")),
    "floats": ([3.0, 41.0], NO_KIND.format("float64")),
    "objects": (np.array(THERE, object), NO_KIND.format("object")),
    "strings": (["3"], NO_KIND.format("<U1")),
    "complex": ([3j], NO_KIND.format("complex128")),
    "function with a mask": (lambda ids: masked(ids % 3 == 0), MASKED),
    "function of numbers": (lambda ids: ids, NO_MASK),
    "function of one": (lambda ids: True, NO_MASK),
    "function of few": (lambda ids: np.ones(59, bool), NO_MASK),
    "function of nothing": (lambda ids: None, NO_MASK),
    "broken function": (broken, (KeyError, "mine")),
}
RADII = per(STRUCTURES, ".range_search(radius)", lambda name, r: within(name, MORE, r))
RADIUS_ROWS = {
    "float": (9.0, SAME),
    "int": (9, SAME),
    "float32": (np.float32(9), SAME),
    "zero": (0, SAME),
    "negative": (-1.0, "must be finite and >= 0, got -1"),
    "NaN": (np.nan, "must be finite and >= 0, got nan"),
    "infinity": (np.inf, "must be finite and >= 0, got inf"),
    "bool": (True, "must be a real number, got True"),
    "string": ("9", "must be a real number, got '9'"),
    "None": (None, "must be a real number, got None"),
    "array": (np.array([9.0]), "must be a real number, got array"),
}


@cells(
    KNOWN_ID_ROWS,
    KNOWN_IDS,
    whole=["Flat.remove(ids)", "Flat.update(ids)"],
    wiring=["list", "none", "repeated", "unknown"],
)
def test_ids_of_vectors_that_are_there(value, column, cell):
    plain = np.array(list(value), np.int64) if cell is SAME else None
    check(KNOWN_IDS, column, value, plain, cell)


@pytest.mark.parametrize("name", STRUCTURES)
def test_no_filter_is_none_to_search_and_a_mistake_to_prepare(name):
    plain = INDEXES[name].search(MORE, k=5)
    np.testing.assert_array_equal(search_among(name, None), plain)
    with pytest.raises(ValueError, match="got NoneType"):
        INDEXES[name].prepare_filter(None)


@cells(
    FILTER_ROWS,
    FILTERS,
    whole=["HNSW.search(filter)", "HNSW.prepare_filter(filter)"],
    wiring=["mask", "list", "none", "function", "floats", "broken function"],
)
def test_filters(value, column, cell):
    if isinstance(cell, str | tuple):
        check(FILTERS, column, value, None, cell)
    else:
        mask = np.zeros(60, bool)
        mask[np.array(cell, int)] = True
        check(FILTERS, column, value, mask, SAME)


@cells(RADIUS_ROWS, RADII, whole=RADII)
def test_radii(value, column, cell):
    plain = float(value) if cell is SAME else None
    check(RADII, column, value, plain, cell)


@pytest.mark.parametrize("name", STRUCTURES)
def test_files(name, tmp_path):
    index, path = INDEXES[name], tmp_path / "index"
    for form in (path, str(path)):
        index.save(form)
        for options in (
            *({}, {"mmap": True}, {"mmap": np.True_}, {"verify": None}),
            *({"verify": False}, {"verify": True}, {"mmap": True, "verify": False}),
        ):
            found = ann.load(form, **options).search(MORE, k=5)
            np.testing.assert_array_equal(found, index.search(MORE, k=5))
    for nothing in (None, 3, 2.5, [str(path)]):
        with pytest.raises(TypeError):
            index.save(nothing)
        with pytest.raises(TypeError):
            ann.load(nothing)
    with pytest.raises(FileNotFoundError):
        ann.load(tmp_path / "absent")
    with pytest.raises(FileNotFoundError):
        index.save(tmp_path / "absent" / "index")
    for content in (b"", b"no index at all", path.read_bytes()[:-1]):
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(ValueError, match="other"):
            ann.load(tmp_path / "other")
    for option, wrong in (("mmap", ("r", 1, None)), ("verify", ("r", 1, 0.0))):
        for value in wrong:
            rule = f"^{option} must be True or False, got {value!r}$"
            with pytest.raises(ValueError, match=rule):
                ann.load(path, **{option: value})


# --- other numbers --------------------------------------------------------------------


def build(**parameters):
    """Return a call of ``ANNTransformer`` with parameters, and its fit."""
    return lambda name: lambda v: ANNTransformer(**parameters, **{name: v}).fit(GOOD)


def _changed(name, method, *arguments, **options):
    index = STRUCTURES[name]().add(GOOD).remove([7, 30])
    getattr(index, method)(*arguments, **options)
    return index.search(MORE, k=5)


graph, lists = build(structure="hnsw"), build(structure="ivf")
ONES = (int, np.int64)  # too few for the 5 neighbours of a transformer
# Least, largest (None: that of all integers), whether None may be given, and the call.
INTEGERS = {
    "IVF(nlist)": (1, None, True, lambda v: ann.IVF(nlist=v)),
    "IVF(seed)": (0, None, False, lambda v: ann.IVF(seed=v)),
    "HNSW(M)": (2, 1024, False, lambda v: ann.HNSW(M=v)),
    "HNSW(ef_construction)": (1, None, False, lambda v: ann.HNSW(ef_construction=v)),
    "HNSW(seed)": (0, None, False, lambda v: ann.HNSW(seed=v)),
    "PQ(m)": (1, None, False, lambda v: ann.PQ(v)),
    "PQ4(m)": (1, 32_768, False, lambda v: ann.PQ(v, nbits=4)),
    "PQ(seed)": (0, None, False, lambda v: ann.PQ(2, seed=v)),
    "RaBitQ(bits)": (1, 8, False, ann.RaBitQ),
    "RaBitQ(seed)": (0, None, False, lambda v: ann.RaBitQ(seed=v)),
    "PCA(d_out)": (1, None, False, ann.PCA),
    "PCA(seed)": (0, None, False, lambda v: ann.PCA(2, seed=v)),
    "Truncate(d_out)": (1, None, False, ann.Truncate),
    "HNSW.search(ef_search)": (
        1,
        None,
        True,
        lambda v: INDEXES["HNSW"].search(MORE, k=1, ef_search=v),
    ),
    "HNSW.trace(ef_search)": (
        1,
        None,
        True,
        lambda v: INDEXES["HNSW"].trace(MORE, k=1, ef_search=v),
    ),
    "HNSW.calibrate(threads)": (
        1,
        None,
        True,
        lambda v: CALIBRATED.calibrate(MORE, threads=v),
    ),
    "IVF.search(nprobe)": (1, 3, True, lambda v: INDEXES["IVF"].search(MORE, nprobe=v)),
    "IVF.trace(nprobe)": (1, 3, True, lambda v: INDEXES["IVF"].trace(MORE, nprobe=v)),
    "IVF.search(patience)": (
        1,
        None,
        True,
        lambda v: INDEXES["IVF"].search(MORE, patience=v),
    ),
    "IVF.trace(patience)": (
        1,
        None,
        True,
        lambda v: INDEXES["IVF"].trace(MORE, patience=v),
    ),
    **{
        f"{name}.{method}(threads)": (1, None, True, call)
        for name in STRUCTURES
        for method, call in {
            "add": lambda v, name=name: STRUCTURES[name]().add(GOOD, threads=v),
            "search": lambda v, name=name: INDEXES[name].search(MORE, threads=v),
            "exact": lambda v, name=name: INDEXES[name].exact(MORE, threads=v),
            "remove": lambda v, name=name: _changed(name, "remove", [1, 5], threads=v),
            "retrain": lambda v, name=name: _changed(name, "retrain", threads=v),
            "update": lambda v, name=name: _changed(
                name, "update", [1, 5], MORE[:2], threads=v
            ),
            "compact": lambda v, name=name: _changed(name, "compact", threads=v),
            "repair": lambda v, name=name: _changed(name, "repair", threads=v),
        }.items()
    },
    **{
        f"{name}.{method}(threads)": (1, None, True, call)
        for name in CODECS
        for method, call in {
            "train": lambda v, name=name: CODECS[name]().train(GOOD, threads=v),
            "encode": lambda v, name=name: TRAINED[name].encode(GOOD, threads=v),
            "decode": lambda v, name=name: TRAINED[name].decode(
                TRAINED[name].encode(GOOD), threads=v
            ),
        }.items()
    },
    "ANNTransformer(n_neighbors)": (1, None, False, build()("n_neighbors")),
    "ANNTransformer(M)": (2, 1024, False, graph("M")),
    "ANNTransformer(ef_construction)": (1, None, False, graph("ef_construction")),
    "ANNTransformer(ef_search)": (
        1,
        None,
        True,
        lambda v: graph("ef_search")(40 if type(v) in ONES and v == 1 else v),
    ),
    "ANNTransformer(nlist)": (1, None, True, lists("nlist")),
    "ANNTransformer(nprobe)": (1, None, True, lists("nprobe")),
}
WHOLE = [-1, 0, 1, np.int64(1), 2**63]
NOT_WHOLE = [2.0, np.float64(1), np.nan, np.inf, "3", True, np.True_, [1], 1j, None]


@pytest.mark.parametrize("column", INTEGERS)
def test_integers(column):
    least, most, optional, call = INTEGERS[column]
    name = argument(column)
    wired = name == "threads" and column != "Flat.search(threads)"  # one validator
    for value in [0, 1, 2.0, None] if wired else [*WHOLE, *NOT_WHOLE]:
        if value is None and optional:
            call(value)
        elif any(value is each for each in NOT_WHOLE) or isinstance(value, float):
            message = re.escape(f"{name} must be an integer, got {value!r}")
            with pytest.raises(ValueError, match=f"^{message}"):
                call(value)
        elif least <= value <= (most or 2**63 - 1):
            call(value)
        else:
            limit = rf"(in \[{least}, .*\]|>= {least}|<= 2\*\*63 - 1)"
            rule = f"^{name} must be {limit}, got {value}$"
            with pytest.raises(ValueError, match=rule):
                call(value)


def test_a_pool_takes_no_more_room_than_there_are_vectors():
    for value in (60, 10**9, 2**63 - 1):
        index = ann.HNSW(M=4, ef_construction=value).add(GOOD).remove([7]).repair()
        np.testing.assert_array_equal(
            index._held.graph.base,
            ann.HNSW(M=4, ef_construction=60).add(GOOD).remove([7])._held.graph.base,
        )


# Least, largest, whether None may be given, and the call.
REALS = {
    **{
        f"{name}(refine)": (
            1,
            None,
            True,
            lambda v, make=make: make(codec=ann.SQ(), refine=v).add(GOOD).search(MORE),
        )
        for name, make in STRUCTURES.items()
    },
    "ANNTransformer(refine)": (1, None, True, build(codec=ann.SQ())("refine")),
    "HNSW.search(epsilon)": (
        0,
        1e6,
        True,
        lambda v: INDEXES["HNSW"].search(MORE, epsilon=v),
    ),
    "HNSW.trace(epsilon)": (
        0,
        1e6,
        True,
        lambda v: INDEXES["HNSW"].trace(MORE, epsilon=v),
    ),
    "HNSW.search(target_recall)": (
        0,
        1,
        True,
        lambda v: CALIBRATED.calibrate(MORE).search(MORE, target_recall=v),
    ),
    "HNSW.trace(target_recall)": (
        0,
        1,
        True,
        lambda v: CALIBRATED.calibrate(MORE).trace(MORE, target_recall=v),
    ),
}
REAL = [-1, -0.5, 0, 0.5, 1, 1.5, np.float32(2), np.int8(3), 1e9]
NOT_FINITE = [np.nan, np.inf, -np.inf, 10**400, -(10**400)]
NOT_REAL = ["2", True, np.True_, [2.0], np.array([2.0]), 1j, b"2", None]


@pytest.mark.parametrize("column", REALS)
def test_reals(column):
    least, most, optional, call = REALS[column]
    name = argument(column)
    for value in [*REAL, *NOT_FINITE, *NOT_REAL]:
        if value is None and optional:
            call(value)
        elif any(value is each for each in NOT_REAL):
            message = re.escape(f"{name} must be a real number, got {value!r}")
            with pytest.raises(ValueError, match=f"^{message}"):
                call(value)
        elif any(value is each for each in NOT_FINITE) or value < least:
            rule = f"^{name} must be finite and >= {least}, "
            with pytest.raises(ValueError, match=rule):
                call(value)
        elif most is not None and value > most:
            rule = rf"^{name} must be <= {most:g}, got {value:g}$".replace("+", r"\+")
            with pytest.raises(ValueError, match=rule):
                call(value)
        else:
            call(value)


# --- choices --------------------------------------------------------------------------

SPELLINGS = ["l2", "euclidean", "ip", "dot", "inner_product", "cosine", "angular"]
SPELLINGS += ["l1", "manhattan", "cityblock", "L2", "Cosine"]
SKLEARNS = ["euclidean", "l2", "manhattan", "cityblock", "l1", "cosine"]
NO_NAMES = [None, 3, "", " l2", "hamming", b"l2", ["l2"], np.nan, True, ann.Flat]
NO_BITS = [0, 5, 6, 16, -8, 8.0, "8", True, None]
# What may be given, what not, the rule, and the call.
CHOICES = {
    **{
        f"{name}(metric)": (SPELLINGS, NO_NAMES, "metric must be one of l2, ", make)
        for name, make in STRUCTURES.items()
    },
    **{
        f"{name}(norm_check)": (
            ["raise", "warn", "off"],
            [None, "", "Raise", "error", True, 1],
            "norm_check must be one of 'raise', 'warn', 'off'",
            lambda v, make=make: make(norm_check=v),
        )
        for name, make in STRUCTURES.items()
    },
    **{
        f"{name}(refine_dtype)": (
            [None, "float32", "float16"],
            ["", "float64", "f2", 16, True],
            "refine_dtype must be one of 'float32', 'float16'",
            lambda v, make=make: make(codec=ann.SQ(), refine=2, refine_dtype=v),
        )
        for name, make in STRUCTURES.items()
    },
    "similarity(metric_name)": (
        SPELLINGS,
        NO_NAMES,
        "metric must be one of l2, ",
        lambda v: ann.similarity(v, [0.5]),
    ),
    "ANNTransformer(metric)": (
        SKLEARNS,
        [*NO_NAMES, "ip", "dot", "minkowski", "precomputed", "L2"],
        "metric must be one of euclidean, ",
        build()("metric"),
    ),
    "ANNTransformer(structure)": (
        ["hnsw", "ivf", "flat"],
        [None, "", "HNSW", ann.HNSW, 1],
        "structure must be one of hnsw, ivf, flat",
        build()("structure"),
    ),
    "ANNTransformer(mode)": (
        ["distance", "connectivity"],
        [None, "", "Distance", True],
        "mode must be one of distance, connectivity",
        build()("mode"),
    ),
    "ANNTransformer.kneighbors_graph(mode)": (
        ["distance", "connectivity"],
        [None, "", "Distance", True],
        "mode must be one of distance, connectivity",
        lambda v: TRANSFORMER.kneighbors_graph(MORE, mode=v),
    ),
    **{
        f"{name}(codec)": (
            [None, ann.SQ(), ann.PQ(m=3), ann.RaBitQ(), TRAINED["PQ4"]],
            ["PQ", 3, ann.PQ, [ann.SQ()], {"kind": "SQ"}],
            "codec must be an ann.PQ, an ann.SQ, an ann.RaBitQ or None",
            lambda v, make=make: make(codec=v).add(GOOD),
        )
        for name, make in STRUCTURES.items()
    },
    **{
        f"{name}(transform)": (
            [None, ann.PCA(3), ann.PCA(6, seed=7), ann.Truncate(2)],
            ["PCA", 3, ann.PCA, ann.SQ(), [ann.PCA(3)], {"kind": "PCA"}],
            "transform must be an ann.PCA, an ann.Truncate or None",
            lambda v, make=make: make(transform=v).add(GOOD).search(MORE),
        )
        for name, make in STRUCTURES.items()
    },
    "ANNTransformer(codec)": (
        [None, ann.SQ(), ann.PQ(m=3)],
        ["PQ", 3, ann.PQ],
        "codec must be an ann.PQ, an ann.SQ, an ann.RaBitQ or None",
        build()("codec"),
    ),
    "ANNTransformer(n_jobs)": (
        [None, 1, 2, -1, np.int8(1)],
        [1.5, "2", np.nan, [1]],
        "n_jobs must be an integer or None",
        build()("n_jobs"),
    ),
    "ANNTransformer(random_state)": (
        [None, 0, 7, np.random.RandomState(0)],
        ["a", 1.5, -1, np.random.default_rng(0)],
        "(cannot be used to seed|Seed must be between)",
        build()("random_state"),
    ),
    "SQ(bits)": ([8, 4, np.int8(8)], NO_BITS, "bits must be ", ann.SQ),
    "PQ(nbits)": (
        [8, 4, np.int8(8)],
        NO_BITS,
        "nbits must be ",
        lambda v: ann.PQ(2, v),
    ),
    **{
        f"HNSW.{method}(taper)": (
            [True, False, np.True_],
            [1, 0, "yes", None, np.array([True])],
            "taper must be True or False",
            lambda v, method=method: getattr(INDEXES["HNSW"], method)(
                MORE, epsilon=0.1, taper=v
            ),
        )
        for method in ("search", "trace")
    },
    "PQ(opq)": (
        [True, False, np.True_],
        [1, 0, "yes", None, np.array([True])],
        "opq must be True or False",
        lambda v: ann.PQ(2, opq=v),
    ),
    "ANNTransformer.kneighbors(return_distance)": (
        [True, False],
        [],
        "",
        lambda v: TRANSFORMER.kneighbors(MORE, return_distance=v),
    ),
}


@pytest.mark.parametrize("column", CHOICES)
def test_choices(column):
    good, bad, rule, call = CHOICES[column]
    for value in good:
        call(value)
    for value in bad:
        with pytest.raises(ValueError, match=rule) as refused:
            call(value)
        if "random_state" not in column:  # whose rule is scikit-learn's and numpy's
            assert str(refused.value).endswith(f"got {value!r}")


def test_choices_that_no_codec_serves():
    with pytest.raises(ValueError, match="opq must be False under the l1 metric"):
        ann.Flat("l1", codec=ann.PQ(m=3, opq=True))
    for make in STRUCTURES.values():
        with pytest.raises(ValueError, match=r"refine needs a codec or .* got 2$"):
            make(refine=2)
        with pytest.raises(ValueError, match=r"'float32' without .* got 'float16'$"):
            make(codec=ann.SQ(), refine_dtype="float16")


def test_what_float16_cannot_hold_is_refused_and_nothing_is_lost():
    for make in STRUCTURES.values():
        index = make("l2", codec=ann.SQ(), refine=2, refine_dtype="float16").add(GOOD)
        before = index.search(MORE)
        with pytest.raises(ValueError, match=r"within 65504 for .* got 70000$"):
            index.add(np.full_like(GOOD[:1], 7e4))
        for old, new in zip(before, index.search(MORE), strict=True):
            np.testing.assert_array_equal(old, new)


# --- what is written into -------------------------------------------------------------

COUNTS = per(
    STRUCTURES,
    ".search(distance_computations)",
    lambda name, out: INDEXES[name].search(MORE, distance_computations=out),
)
COUNTS_RULE = r"must be a contiguous, writable int64 array of shape \(12,\), got {}"
COUNT_ROWS = {
    "None": (None, SAME),
    "zeros": (np.zeros(12, np.int64), SAME),
    "int32": (np.zeros(12, np.int32), COUNTS_RULE.format(r"int32 \(12,\)")),
    "float64": (np.zeros(12), COUNTS_RULE.format("float64")),
    "big-endian": (np.zeros(12, ">i8"), COUNTS_RULE.format(">i8")),
    "every other": (np.zeros(24, np.int64)[::2], COUNTS_RULE.format("int64")),
    "read-only": (read_only(np.zeros(12, np.int64)), COUNTS_RULE.format("int64")),
    "too short": (np.zeros(11, np.int64), COUNTS_RULE.format(r"int64 \(11,\)")),
    "two dimensions": (np.zeros((12, 1), np.int64), COUNTS_RULE.format("int64")),
    "list": ([0] * 12, COUNTS_RULE.format("list")),
    "a number": (0, COUNTS_RULE.format("int")),
}


@cells(COUNT_ROWS, COUNTS, whole=COUNTS)
def test_counts(value, column, cell):
    check(COUNTS, column, value, None, cell)
    if isinstance(value, np.ndarray) and cell is SAME:
        assert (value > 0).all()


# --- distances ------------------------------------------------------------------------

DISTANCES = {
    f"similarity[{metric}](distances)": lambda v, metric=metric: ann.similarity(
        metric, v
    )
    for metric in METRICS
}
SOME = np.array([[0.0, 0.5, 1.0], [1.5, 2.0, np.inf]])
LEAST = {"[l2]": ">= 0 under l2", "[l1]": ">= 0 under l1"}
LEAST |= {"[ip]": "numbers under ip", "[cosine]": "numbers under cosine"}


def refused_as(got):
    rules = {metric: f"must be {rule}, got {got}$" for metric, rule in LEAST.items()}
    return "", rules


def no_distances(got):
    return f"must hold real numbers, got {got}"


DISTANCE_ROWS = {
    **{kind: (SOME.astype(kind), SAME) for kind in NUMBERS[:6]},
    "int64": (np.arange(6), SAME),
    "bool": (np.array([True, False]), SAME),
    "list": (SOME.tolist(), SAME),
    "a number": (0.5, SAME),
    "an integer": (1, SAME),
    "no dimension": (np.array(0.5), SAME),
    "Fortran": (np.asfortranarray(SOME), SAME),
    "every other": (np.repeat(SOME, 2, axis=1)[:, ::2], SAME),
    "read-only": (read_only(SOME), SAME),
    "nothing": ([], SAME),
    "missing": (np.inf, SAME),
    "NaN": ([0.5, np.nan], *refused_as("nan")),
    "minus infinity": ([0.5, -np.inf], *refused_as("-inf")),
    "negative": (
        [0.5, -1.0],
        SAME,
        {m: f"must be {LEAST[m]}, got -1.0$" for m in ("[l2]", "[l1]")},
    ),
    "masked": (masked(SOME), MASKED),
    "complex": ([0.5, 1j], no_distances("dtype complex128")),
    "objects": (np.array([0.5, 1.0], object), no_distances("dtype object")),
    "None": (None, no_distances("NoneType")),
    "None inside": ([0.5, None], no_distances("dtype object")),
    "a string": ("0.5", no_distances("str")),
    "strings": (["0.5"], no_distances("dtype <U")),
    "dates": (np.zeros(3, "M8[s]"), no_distances("dtype datetime64")),
    "a dictionary": ({}, no_distances("dict")),
    "ragged": ([[0.5], [0.5, 1.0]], (ValueError, "inhomogeneous shape")),
}


@cells(DISTANCE_ROWS, DISTANCES, whole=DISTANCES)
def test_distances(value, column, cell):
    plain = as_plain(value) if cell is SAME else None
    check(DISTANCES, column, value, plain, cell)


@pytest.mark.parametrize("wrong", [3, "yes", [print], True])
@pytest.mark.parametrize("name", STRUCTURES)
def test_progress(name, wrong):
    index = STRUCTURES[name]()
    with pytest.raises(ValueError, match=r"^progress must be a function, got "):
        index.add(GOOD, progress=wrong)
    assert index.add(GOOD, progress=lambda done, n: None).ntotal == 60


# --- nothing is left out --------------------------------------------------------------

TABLES = [VECTORS, ONE, CODES, KS, IDS, INTEGERS, REALS, CHOICES, COUNTS, DISTANCES]
TABLES += [KNOWN_IDS, FILTERS, RADII]
PUBLIC = [ann.Flat, ann.IVF, ann.HNSW, ann.SQ, ann.PQ, ann.RaBitQ, ann.PCA]
PUBLIC += [ann.Truncate, ANNTransformer]
FOR_STRUCTURES = {  # of codecs and transforms
    *("pack", "unpack", "store", "query_size", "arrange", "disarrange", "scan_store"),
    *("scan_query_size", "residual_store", "square_norms", "project", "check_width"),
    *("codes_residuals", "train_residuals", "related", "has_cross"),
    *("check_metric", "arrays", "copy", "saved", "restore", "row"),
    *("learn", "reduction"),
}
OF_FILES = {"load(path)", "load(mmap)", "load(verify)", "load(metric)"}  # test_files
OF_FILES |= {f"{name}.save(path)" for name in STRUCTURES}
OF_FILES |= {f"{name}.add(progress)" for name in STRUCTURES}  # test_progress


def arguments_of(cls):
    """Return ``Class(argument)`` and ``Class.method(argument)`` for the public ones."""
    methods = {name: f for name, f in vars(cls).items() if inspect.isfunction(f)}
    for base in cls.__mro__:
        if base.__module__.startswith("ann."):
            methods = {
                name: f for name, f in vars(base).items() if inspect.isfunction(f)
            } | methods
    if cls is ANNTransformer:
        methods["fit_transform"] = cls.fit_transform
    named = set()
    for name, function in methods.items():
        if name != "__init__" and (name.startswith("_") or name in FOR_STRUCTURES):
            continue
        place = cls.__name__ if name == "__init__" else f"{cls.__name__}.{name}"
        parameters = inspect.signature(function).parameters.values()
        named |= {
            f"{place}({p.name})"
            for p in parameters
            if p.name not in ("self", "y") and p.kind is not p.VAR_KEYWORD
        }
    return named


def test_no_argument_is_left_out():
    public = set().union(*map(arguments_of, PUBLIC))
    for function in (ann.similarity, ann.load):
        parameters = inspect.signature(function).parameters
        public |= {f"{function.__name__}({name})" for name in parameters}
    columns = {
        re.sub(r"\[.*\]", "", name).strip() for table in TABLES for name in table
    }
    columns |= {re.sub("^O?(SQ|PQ)4?", r"\1", name) for name in columns}
    columns |= OF_FILES
    assert sorted(public - columns) == []
