import numpy as np
import pytest

import ann
from ann import validation
from tests.ann.data import gaussian

INDEXES = {
    "Flat": lambda: ann.Flat(),
    "IVF": lambda: ann.IVF(nlist=4),
    "HNSW": lambda: ann.HNSW(M=4, ef_construction=20),
}
X = gaussian(40, 6, seed=1)


def spoilt(value, row=30, column=2):
    wide = X.astype(np.float64)
    wide[row, column] = value
    return wide


REFUSED = {
    "nan": (spoilt(np.nan), "must be finite in float32, got nan in row 30, column 2"),
    "inf": (spoilt(np.inf), "must be finite in float32, got inf in row 30, column 2"),
    "-inf": (
        spoilt(-np.inf, 0, 5),
        "must be finite in float32, got -inf in row 0,",
    ),
    "overflow": (
        spoilt(1e300),
        "must be finite in float32, got .* row 30, column 2",
    ),
    "width": (X[:, :5], "must have d=6 columns, got 5"),
    "no columns": (X[:, :0], "must have at least 1 column"),
    "0-d": (np.float32(3), r"must have shape \(n, d\), got \(\)"),
    "3-d": (X.reshape(40, 2, 3), r"must have shape \(n, d\), got \(40, 2, 3\)"),
    "object": (X.astype(object), "must hold real numbers, got dtype object"),
    "complex": (X.astype(complex), "must hold real numbers, got dtype complex128"),
    "string": (X.astype(str), "must hold real numbers, got dtype <U"),
    "bytes": (np.full((40, 6), b"a"), "must hold real numbers, got dtype"),
    "datetime": (np.zeros((40, 6), "M8[s]"), "must hold real numbers, got dtype"),
}


@pytest.fixture(scope="module", params=INDEXES)
def index(request):
    return INDEXES[request.param]().add(X)


@pytest.mark.parametrize("case", REFUSED)
def test_add_refuses_and_names_the_rule_the_limit_and_the_value(index, case):
    array, message = REFUSED[case]
    before = index.search(X, k=3)
    with pytest.raises(ValueError, match="^X " + message):
        index.add(array)
    assert index.ntotal == len(X)
    np.testing.assert_array_equal(index.search(X, k=3), before)


@pytest.mark.parametrize("case", REFUSED)
def test_search_refuses_and_names_the_rule_the_limit_and_the_value(index, case):
    array, message = REFUSED[case]
    with pytest.raises(ValueError, match="^Q " + message):
        index.search(array)


def test_one_dimensional_is_a_query_but_no_vectors(index):
    assert index.search(X[0], k=3)[0].shape == (3,)
    with pytest.raises(ValueError, match=r"X must have shape \(n, d\), got \(6,\)"):
        index.add(X[0])
    with pytest.raises(ValueError, match="Q must have d=6 columns, got 5"):
        index.search(X[0, :5])
    with pytest.raises(ValueError, match=r"Q must be finite .* nan in row 0, column 1"):
        index.search([0, np.nan, 0, 0, 0, 0])


def test_ragged_lists_are_refused(index):
    with pytest.raises(ValueError, match="inhomogeneous"):
        index.add([[1.0, 2.0], [1.0]])


def readonly(array):
    array = array.copy()
    array.flags.writeable = False
    return array


WHOLE = np.round(X * 3)
ACCEPTED = {
    "read-only": readonly(WHOLE),
    "Fortran": np.asfortranarray(WHOLE),
    "float64": WHOLE.astype(np.float64),
    "float16": WHOLE.astype(np.float16),
    "longdouble": WHOLE.astype(np.longdouble),
    "int8": WHOLE.astype(np.int8),
    "int64": WHOLE.astype(np.int64),
    "big-endian": WHOLE.astype(">f4"),
    "every other row": np.repeat(WHOLE, 2, axis=0)[::2],
    "every other column": np.repeat(WHOLE, 2, axis=1)[:, ::2],
    "reversed": WHOLE[::-1].copy()[::-1],
    "unaligned": np.frombuffer(b"\0" + WHOLE.tobytes(), np.uint8)[1:]
    .view(np.float32)
    .reshape(WHOLE.shape),
    "list": WHOLE.tolist(),
}


@pytest.mark.parametrize("form", ACCEPTED)
@pytest.mark.parametrize("name", INDEXES)
def test_every_form_of_the_same_numbers_gives_the_same_result(name, form):
    expected = INDEXES[name]().add(WHOLE).search(WHOLE, k=5)
    array = ACCEPTED[form]
    index = INDEXES[name]().add(array)
    np.testing.assert_array_equal(index.search(array, k=5), expected)
    one = np.asarray(array)[3]
    np.testing.assert_array_equal(index.search(one, k=5)[0], expected[0][3])


@pytest.mark.parametrize("form", ACCEPTED)
def test_vectors_are_cast_to_one_kind(form):
    cast = validation.vectors(ACCEPTED[form], "X")
    assert cast.dtype == np.float32
    assert cast.flags.c_contiguous
    assert cast.flags.writeable
    assert cast.flags.aligned
    np.testing.assert_array_equal(cast, WHOLE)


@pytest.mark.parametrize("kind", [np.uint8, bool])
def test_small_kinds_are_numbers(kind):
    array = np.random.default_rng(0).integers(0, 2, (30, 9)).astype(kind)
    wide = array.astype(np.float32)
    got, expected = (ann.Flat("l1").add(a).search(a, k=4) for a in (array, wide))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", INDEXES)
def test_the_index_owns_its_vectors_and_leaves_the_callers(name):
    mine, queries = WHOLE.copy(), WHOLE[:9].copy()
    index = INDEXES[name]().add(mine)
    expected = index.search(queries, k=5)
    np.testing.assert_array_equal(mine, WHOLE)
    np.testing.assert_array_equal(queries, WHOLE[:9])
    mine[:] = 99
    np.testing.assert_array_equal(index.search(queries, k=5), expected)


def test_nothing_is_accepted_and_changes_nothing(index):
    before = index.search(X, k=3)
    assert index.add(np.empty((0, 6))) is index
    np.testing.assert_array_equal(index.search(X, k=3), before)
    ids, distances = index.search(np.empty((0, 6)), k=3)
    assert ids.shape == distances.shape == (0, 3)
    with pytest.raises(ValueError, match="X must have d=6 columns, got 7"):
        index.add(np.empty((0, 7)))


@pytest.mark.parametrize("name", INDEXES)
def test_an_empty_index_finds_nothing(name):
    index = INDEXES[name]()
    assert (index.ntotal, index.d, len(index)) == (0, None, 0)
    for _ in range(2):
        ids, distances = index.search(X[:4], k=3)
        assert (ids == -1).all()
        assert np.isposinf(distances).all()
        index.add(np.empty((0, 6)))
    scored = np.full(4, 7)
    index.search(X[:4], distance_computations=scored)
    assert not scored.any()


@pytest.mark.parametrize("name", INDEXES)
def test_zero_vectors_are_refused_under_cosine_alone(name):
    zero = X.copy()
    zero[17] = 0
    for metric in ("l2", "ip", "l1"):
        index = INDEXES[name]()
        index = type(index)(metric, **index._build_params).add(zero)
        assert index.search(np.zeros(6), k=1)[0].shape == (1,)
    index = type(index)("cosine", **index._build_params)
    with pytest.raises(ValueError, match=r"X must have no zero vector .* in row 17"):
        index.add(zero)
    assert index.ntotal == 0
    index.add(X)
    with pytest.raises(ValueError, match=r"Q must have no zero vector .* in row 0"):
        index.search(zero[17])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, r"k must be in \[1, 2147483647\], got 0"),
        ({"k": -3}, r"k must be in \[1, 2147483647\], got -3"),
        ({"k": 2.0}, "k must be an integer, got 2.0"),
        ({"k": True}, "k must be an integer, got True"),
        ({"k": "3"}, "k must be an integer, got '3'"),
        ({"k": None}, "k must be an integer, got None"),
        ({"threads": 0}, "threads must be >= 1, got 0"),
        ({"threads": 1.5}, "threads must be an integer, got 1.5"),
        (
            {"distance_computations": np.zeros(3, np.int64)},
            r"distance_computations must be .* int64 array of shape \(40,\), got int64 "
            r"\(3,\)",
        ),
        ({"distance_computations": np.zeros(40, np.int32)}, "int64 .* got int32"),
        ({"distance_computations": [0] * 40}, "must be .* int64 array .* got list"),
    ],
)
def test_search_parameters(index, arguments, message):
    with pytest.raises(ValueError, match=message):
        index.search(X, **arguments)


def test_numpy_integers_are_integers(index):
    ids, _ = index.search(X, k=np.int32(4), threads=np.uint8(1))
    assert ids.shape == (40, 4)


def test_integer_names_where_its_limit_is_from():
    assert validation.integer(np.uint8(3), "M", 2, 9) == 3
    with pytest.raises(ValueError, match=r"^M must be in \[2, 9\], got 1$"):
        validation.integer(1, "M", 2, 9)
    with pytest.raises(ValueError, match=r"^p must be in \[1, nlist=9\], got 10$"):
        validation.integer(10, "p", 1, 9, "nlist=")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ann.HNSW(M=1), "M must be in .2, .*, got 1"),
        (lambda: ann.HNSW(M=2.5), "M must be an integer, got 2.5"),
        (lambda: ann.HNSW(ef_construction=0), "ef_construction must be >= 1, got 0"),
        (lambda: ann.HNSW(seed=-1), "seed must be >= 0, got -1"),
        (lambda: ann.IVF(nlist=0), "nlist must be >= 1, got 0"),
        (lambda: ann.IVF(seed="a"), "seed must be an integer, got 'a'"),
        (lambda: ann.Flat(codec="PQ"), "codec must be an ann.PQ, .* got 'PQ'"),
        (lambda: ann.Flat(refine=2), "refine needs a codec or .* got 2"),
        (
            lambda: ann.Flat(codec=ann.SQ(), refine=0),
            "refine must be finite and >= 1, got 0",
        ),
        (lambda: ann.Flat(codec=ann.SQ(), refine=np.inf), "refine must be .* got inf"),
        (lambda: ann.Flat(codec=ann.SQ(), refine="2"), "refine must be .* got '2'"),
        (lambda: ann.SQ(bits=6), r"bits must be one of \(8, 4\), got 6"),
        (lambda: ann.PQ(m=0), "m must be >= 1, got 0"),
        (lambda: ann.PQ(m=4, nbits=5), r"nbits must be one of \(8, 4\), got 5"),
    ],
)
def test_constructors_refuse(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# --- ids ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([5, 6, 7, 6], "ids must be unique, got 6 more than once"),
        ([5, 6, 7, 2], "ids must be unique, got 2 more than once"),  # 0..3 are taken
        ([5, 6, 7], r"ids must have shape \(4,\), got \(3,\)"),
        ([[5, 6, 7, 8]], r"ids must have shape \(4,\), got \(1, 4\)"),
        ([5, 6, 7, -1], r"ids must be in \[0, 2\*\*63 - 1\], got -1"),
        (
            np.array([5, 6, 7, 2**63], np.uint64),
            r"ids must be in .* got 92233720",
        ),
        ([5.0, 6, 7, 8], "ids must be integers, got dtype float64"),
        (["5", "6", "7", "8"], "ids must be integers, got dtype <U1"),
        ([True, False, True, False], "ids must be integers, got dtype bool"),
    ],
)
@pytest.mark.parametrize("name", INDEXES)
def test_ids_are_refused_and_the_index_stays_as_it_was(name, ids, message):
    index = INDEXES[name]().add(X[:4])
    before = index.search(X, k=4)
    with pytest.raises(ValueError, match=message):
        index.add(X[4:8], ids=ids)
    assert index.ntotal == 4
    np.testing.assert_array_equal(index.search(X, k=4), before)


@pytest.mark.parametrize("name", INDEXES)
def test_own_ids_come_back(name):
    mine = np.random.default_rng(0).permutation(2**40 + np.arange(len(X)))
    plain, named = INDEXES[name]().add(X), INDEXES[name]().add(X, ids=mine)
    ids, distances = plain.search(X, k=5)
    named_ids, named_distances = named.search(X, k=5)
    np.testing.assert_array_equal(named_ids, mine[ids])
    np.testing.assert_array_equal(named_distances, distances)


@pytest.mark.parametrize("name", INDEXES)
def test_own_ids_and_ids_by_arrival_mix(name):
    index = INDEXES[name]()
    index.add(X[:10]).add(X[10:20], ids=range(100, 110)).add(X[20:])
    expected = np.concatenate([np.arange(10), np.arange(100, 110), np.arange(20, 40)])
    np.testing.assert_array_equal(index.search(X, k=1)[0][:, 0], expected)
    with pytest.raises(ValueError, match="ids must be unique, got 105 more than once"):
        index.add(X[:1], ids=[105])


def test_ids_by_arrival_that_are_taken_are_refused():
    index = ann.Flat().add(X[:4], ids=[4, 5, 6, 7])
    with pytest.raises(ValueError, match="ids must be unique, got 4 more than once"):
        index.add(X[4:])
    assert index.ntotal == 4


@pytest.mark.parametrize("name", INDEXES)
def test_equal_distances_are_ordered_by_own_id(name):
    same = np.repeat(X[:1], 12, axis=0)
    mine = np.random.default_rng(1).permutation(12) + 50
    ids, _ = INDEXES[name]().add(same, ids=mine).search(X[0], k=12)
    np.testing.assert_array_equal(ids, np.arange(50, 62))


@pytest.mark.xfail(strict=True, reason="arrival decides who is among the k")
def test_a_tie_at_the_last_place_goes_to_the_lower_own_id():
    same = np.repeat(X[:1], 12, axis=0)
    ids, _ = ann.Flat().add(same, ids=np.arange(12)[::-1]).search(X[0], k=5)
    np.testing.assert_array_equal(ids, np.arange(5))
