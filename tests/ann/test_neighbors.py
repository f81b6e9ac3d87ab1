"""The transformer in scikit-learn's own checks, beside its own, and in pipelines."""

import pickle
import re

import numpy as np
import pyarrow
import pytest
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import clone
from sklearn.cluster import DBSCAN, SpectralClustering
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.manifold import TSNE, Isomap, trustworthiness
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    KNeighborsTransformer,
    LocalOutlierFactor,
)
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import ann
from ann import ANNTransformer
from tests.ann import reference
from tests.ann.data import gaussian
from tests.ann.process import ROOT

STRUCTURES = ["hnsw", "ivf", "flat"]
X, Q = (gaussian(n, 12, seed=n).astype(np.float64) for n in (300, 40))
DIGITS, LABELS = load_digits(return_X_y=True)
SOME, SOME_LABELS = DIGITS[:600], LABELS[:600]


@parametrize_with_checks(
    [
        *(ANNTransformer(structure=structure) for structure in STRUCTURES),
        ANNTransformer(mode="connectivity", metric="manhattan"),
        ANNTransformer(codec=ann.SQ(), refine=2),
    ]
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def same_graph(ours, theirs):
    assert type(ours) is type(theirs)
    assert ours.format == theirs.format
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours.indptr, theirs.indptr)
    np.testing.assert_array_equal(ours.indices, theirs.indices)
    np.testing.assert_allclose(ours.data, theirs.data, rtol=1e-5, atol=1e-6)


# --- the same as KNeighborsTransformer ------------------------------------------------


@pytest.mark.parametrize("mode", ["distance", "connectivity"])
@pytest.mark.parametrize(
    "metric", ["euclidean", "l2", "manhattan", "cityblock", "l1", "cosine"]
)
def test_exact_neighbours_are_scikit_learns(metric, mode):
    options = {"n_neighbors": 7, "mode": mode, "metric": metric}
    ours = ANNTransformer(structure="flat", **options)
    theirs = KNeighborsTransformer(algorithm="brute", **options)
    same_graph(ours.fit_transform(X), theirs.fit_transform(X))
    same_graph(ours.transform(Q), theirs.transform(Q))
    for arguments in ((), (Q,), (Q, 3), (None, 4)):
        graphs = (a.kneighbors_graph(*arguments) for a in (ours, theirs))
        same_graph(*graphs)
        distances, indices = ours.kneighbors(*arguments)
        true_distances, true_indices = theirs.kneighbors(*arguments)
        np.testing.assert_array_equal(indices, true_indices)
        np.testing.assert_allclose(distances, true_distances, rtol=1e-5, atol=1e-6)
        assert (distances.dtype, indices.dtype) == (np.float64, np.int64)
        alone = ours.kneighbors(*arguments, return_distance=False)
        np.testing.assert_array_equal(alone, indices)
    names = [name.removeprefix("ann") for name in ours.get_feature_names_out()]
    theirs_names = theirs.get_feature_names_out()
    assert [n.removeprefix("kneighbors") for n in theirs_names] == names


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine"])
@pytest.mark.parametrize("structure", ["hnsw", "ivf"])
@pytest.mark.parametrize("k", [5, 90])
def test_recall_of_approximate_neighbours(structure, metric, k):
    ours = ANNTransformer(structure=structure, metric=metric, n_neighbors=k)
    theirs = KNeighborsTransformer(algorithm="brute", metric=metric, n_neighbors=k)
    _, indices = ours.fit(DIGITS).kneighbors()
    distances, true = theirs.fit(DIGITS).kneighbors()
    assert reference.recall(indices, true) >= 0.95
    assert ours.transform(DIGITS[:50]).nnz == 50 * (k + 1)
    assert (np.diff(ours.kneighbors()[0], axis=1) >= 0).all()
    near = np.isclose(ours.kneighbors()[0][:, 0], distances[:, 0], atol=1e-5)
    assert near.mean() > 0.98


def test_set_output_is_refused_as_scikit_learns_is():
    messages = []
    for transformer in (ANNTransformer(), KNeighborsTransformer()):
        transformer.fit(X).set_output(transform="polars")
        with pytest.raises(ValueError, match="sparse") as refused:
            transformer.transform(Q)
        messages.append(str(refused.value))
    assert messages[0] == messages[1]


def test_sparse_arrays_where_scikit_learn_is_set_to_them():
    sklearn = pytest.importorskip("sklearn", "1.9")
    assert isinstance(ANNTransformer().fit_transform(X), csr_matrix)
    with sklearn.config_context(sparse_interface="sparray"):
        graph = ANNTransformer().fit_transform(X)
    assert isinstance(graph, csr_array)


# --- what the rows hold ---------------------------------------------------------------


@pytest.mark.parametrize("structure", STRUCTURES)
def test_without_data_a_sample_is_not_its_own_neighbour(structure):
    transformer = ANNTransformer(structure=structure, n_neighbors=6).fit(X)
    distances, indices = transformer.kneighbors()
    assert indices.shape == (300, 6)
    assert (indices != np.arange(300)[:, None]).all()
    with_self = transformer.kneighbors(X, 7)
    np.testing.assert_array_equal(with_self[1][:, 0], np.arange(300))
    np.testing.assert_array_equal(with_self[1][:, 1:], indices)
    np.testing.assert_array_equal(with_self[0][:, 1:], distances)


@pytest.mark.parametrize("metric", ["euclidean", "l1", "cosine"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_many_equal_samples(structure, metric):
    same = np.repeat(X[:30], 10, axis=0)
    transformer = ANNTransformer(structure=structure, metric=metric, n_neighbors=4)
    distances, indices = transformer.fit(same).kneighbors()
    group = np.arange(300)[:, None] // 10
    assert (indices != np.arange(300)[:, None]).all()
    assert (indices // 10 == group).all()
    np.testing.assert_allclose(distances, 0, atol=1e-6)
    assert all(len(set(row)) == 4 for row in indices)

    graph = transformer.transform(same)
    assert graph.nnz == 300 * 5  # zeros are stored
    np.testing.assert_array_equal(graph.indptr, np.arange(0, 1501, 5))
    graph.sort_indices()  # no entry is there twice
    assert (np.diff(graph.indices.reshape(300, 5), axis=1) > 0).all()


@pytest.mark.parametrize("k", [10, 199])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_rows_that_the_lists_leave_short_are_answered_exactly(metric, k):
    few = X[:200]
    options = {"structure": "ivf", "nlist": 60, "nprobe": 1, "metric": metric}
    transformer = ANNTransformer(n_neighbors=k, **options).fit(few)
    found, _ = transformer.index_.search(few, k + 1, nprobe=1)
    short = found[:, -1] < 0
    assert short.mean() > 0.5
    distances, indices = transformer.kneighbors(few, k + 1)
    true = reference.exact({"euclidean": "l2"}.get(metric, metric), few, few, k + 1)
    assert reference.recall(indices[short], true[0][short]) == 1
    np.testing.assert_allclose(distances[short], true[1][short], atol=1e-3)
    np.testing.assert_array_equal(indices[~short], found[~short])
    graph = transformer.transform(few)
    assert graph.nnz == 200 * (k + 1)
    assert graph.indices.min() == 0
    assert np.isfinite(graph.data).all()


def test_rows_that_the_graph_leaves_short_are_answered_exactly(monkeypatch):
    transformer = ANNTransformer(n_neighbors=5).fit(X)
    expected = transformer.kneighbors()
    search = transformer.index_.search

    def forgetful(*arguments, **options):
        ids, distances = search(*arguments, **options)
        ids[::3, 2:], distances[::3, 2:] = -1, np.inf
        return ids, distances

    monkeypatch.setattr(transformer.index_, "search", forgetful)
    np.testing.assert_array_equal(transformer.kneighbors(), expected)


def test_rows_are_in_the_order_of_the_samples():
    order = np.random.default_rng(0).permutation(len(Q))
    transformer = ANNTransformer().fit(X)
    straight, shuffled = transformer.transform(Q), transformer.transform(Q[order])
    np.testing.assert_array_equal(straight[order].toarray(), shuffled.toarray())


@pytest.mark.parametrize("structure", STRUCTURES)
def test_one_seed_gives_one_graph_at_any_number_of_threads(structure):
    options = {"structure": structure, "n_neighbors": 9, "nlist": 20, "nprobe": 2}
    one, three, other = (
        ANNTransformer(**options, n_jobs=n_jobs, random_state=seed).fit(DIGITS)
        for n_jobs, seed in ((1, 5), (3, 5), (-1, np.random.RandomState(5)))
    )
    expected = one.transform(DIGITS)
    for transformer in (three, other):
        graph = transformer.transform(DIGITS)
        np.testing.assert_array_equal(graph.indices, expected.indices)
        np.testing.assert_array_equal(graph.data, expected.data)
    if structure != "flat":
        seeds = (5, 6, None, None)
        drawn = [
            ANNTransformer(**options, random_state=seed).fit(X).index_.params["seed"]
            for seed in seeds
        ]
        assert len(set(drawn)) == 4


# --- a scikit-learn citizen -----------------------------------------------------------


@pytest.mark.parametrize("structure", STRUCTURES)
def test_pickles_and_clones(structure):
    transformer = ANNTransformer(structure=structure, codec=ann.SQ(), refine=3).fit(X)
    restored = pickle.loads(pickle.dumps(transformer))
    same_graph(restored.transform(Q), transformer.transform(Q))
    same_graph(restored.kneighbors_graph(), transformer.kneighbors_graph())
    copy = clone(transformer)
    assert not hasattr(copy, "index_")
    same_graph(copy.fit(X).transform(Q), transformer.transform(Q))
    assert not transformer.codec.is_trained  # the user's stays as it was


def test_what_is_searched_is_what_was_fitted():
    transformer = ANNTransformer(structure="hnsw").fit(X)
    expected = transformer.transform(Q)
    transformer.set_params(structure="ivf", metric="cosine", M=4)
    same_graph(transformer.transform(Q), expected)
    transformer.set_params(ef_search=400, n_neighbors=300 - 1)
    assert transformer.transform(Q).nnz == 300 * len(Q)
    with pytest.raises(NotFittedError):
        ANNTransformer().kneighbors(Q)


def test_data_frames():
    names = [f"column {j}" for j in range(12)]
    frame = pyarrow.table(dict(zip(names, X.T, strict=True)))
    queries = pyarrow.table(dict(zip(names, Q.T, strict=True)))
    transformer = ANNTransformer().fit(frame)
    assert transformer.feature_names_in_.tolist() == names
    same_graph(transformer.transform(queries), ANNTransformer().fit(X).transform(Q))
    with pytest.raises(ValueError, match="feature names should match"):
        transformer.transform(queries.rename_columns(names[::-1]))


@pytest.mark.parametrize("form", [np.float64, np.int64, np.float16, object, list])
def test_other_forms_of_the_same_numbers(form):
    whole, queries = np.round(X * 4), np.round(Q * 4)
    expected = ANNTransformer().fit(whole).transform(queries)
    a, b = (
        A.tolist() if form is list else A.astype(form, order="F")
        for A in (whole, queries)
    )
    same_graph(ANNTransformer().fit(a).transform(b), expected)


def test_sparse_data_is_refused():
    for make in (csr_matrix, csr_array):
        with pytest.raises(TypeError, match=r"Sparse .* dense .* '.toarray\(\)'"):
            ANNTransformer().fit(make(X))
        with pytest.raises(TypeError, match=r"Sparse .* dense .* '.toarray\(\)'"):
            ANNTransformer().fit(X).transform(make(Q))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_neighbors": 0}, "n_neighbors must be >= 1, got 0"),
        ({"n_neighbors": 2.0}, "n_neighbors must be an integer, got 2.0"),
        ({"mode": "weight"}, "mode must be one of distance, conn.*, got 'weight'"),
        ({"metric": "ip"}, "metric must be one of euclidean, .*, got 'ip'"),
        ({"metric": "minkowski"}, "metric must be one of .*, got 'minkowski'"),
        ({"metric": None}, "metric must be one of .*, got None"),
        ({"structure": "tree"}, "structure must be one of hnsw, .*, got 'tree'"),
        ({"structure": ann.HNSW}, "structure must be one of hnsw, .*, got <class"),
        ({"M": 1}, r"M must be in \[2, 1024\], got 1"),
        ({"ef_construction": 0}, "ef_construction must be >= 1, got 0"),
        ({"ef_search": 5}, "ef_search must be >= k=6, got 5"),
        ({"ef_search": "64"}, "ef_search must be an integer, got '64'"),
        ({"structure": "ivf", "nlist": 0}, "nlist must be >= 1, got 0"),
        ({"structure": "ivf", "nlist": 301}, "nlist must be .*300.*, got 301"),
        (
            {"structure": "ivf", "nlist": 9, "nprobe": 10},
            r"nprobe must be in \[1, nlist=9\], got 10",
        ),
        ({"codec": "SQ"}, "codec must be an ann.PQ, .* got 'SQ'"),
        ({"codec": ann.PQ(m=5)}, "m must divide d=12: .* got 5"),
        ({"refine": 2}, "refine needs a codec or .* got 2"),
        ({"n_jobs": 1.5}, "n_jobs must be an integer or None, got 1.5"),
        ({"n_jobs": 0}, "n_jobs == 0"),
        ({"random_state": "a"}, "'a' cannot be used to seed"),
    ],
)
def test_parameters_are_refused_by_fit(parameters, message):
    with pytest.raises(ValueError, match=message):
        ANNTransformer(**parameters).fit(X)


def test_more_neighbours_than_there_are():
    transformer = ANNTransformer(n_neighbors=10).fit(X[:10])
    assert transformer.kneighbors(Q)[1].shape == (40, 10)
    assert transformer.kneighbors(n_neighbors=9)[1].shape == (10, 9)
    with pytest.raises(ValueError, match="n_neighbors must be < n_samples_fit=10, got"):
        transformer.kneighbors()
    with pytest.raises(ValueError, match="must be <= n_samples_fit=10, got 11"):
        transformer.kneighbors(Q, 11)
    with pytest.raises(ValueError, match="must be <= n_samples_fit=10, got 11"):
        transformer.transform(Q)  # with distances there is one more
    with pytest.raises(ValueError, match="mode must be one of"):
        transformer.kneighbors_graph(Q, mode="distances")


# --- in front of scikit-learn's estimators --------------------------------------------


def test_classifier_and_grid_search():
    pipeline = make_pipeline(
        ANNTransformer(n_neighbors=10),
        KNeighborsClassifier(n_neighbors=5, metric="precomputed"),
    )
    X_train, X_test, y_train, y_test = train_test_split(DIGITS, LABELS, random_state=0)
    exact = KNeighborsClassifier(n_neighbors=5).fit(X_train, y_train)
    ours = pipeline.fit(X_train, y_train)
    assert ours.score(X_test, y_test) > 0.97
    assert np.mean(ours.predict(X_test) == exact.predict(X_test)) > 0.99
    grid = GridSearchCV(
        pipeline,
        {
            "anntransformer__structure": ["hnsw", "flat"],
            "anntransformer__metric": ["cosine", "l1"],
            "kneighborsclassifier__n_neighbors": [1, 5],
        },
        cv=3,
        error_score="raise",
    ).fit(SOME, SOME_LABELS)
    assert grid.best_score_ > 0.9


def test_regressor():
    y = DIGITS[:, 20:44].mean(axis=1)
    X_train, X_test, y_train, y_test = train_test_split(DIGITS, y, random_state=0)
    exact = KNeighborsRegressor(n_neighbors=4, weights="distance").fit(X_train, y_train)
    ours = make_pipeline(
        ANNTransformer(n_neighbors=4),
        KNeighborsRegressor(n_neighbors=4, metric="precomputed", weights="distance"),
    ).fit(X_train, y_train)
    assert ours.score(X_test, y_test) > 0.8
    assert abs(ours.score(X_test, y_test) - exact.score(X_test, y_test)) < 0.005


def test_dbscan():
    exact = DBSCAN(eps=20, min_samples=5).fit(SOME)
    ours = make_pipeline(
        ANNTransformer(n_neighbors=40),
        DBSCAN(eps=20, min_samples=5, metric="precomputed"),
    )
    labels = ours.fit_predict(SOME)
    assert len(set(labels)) > 5
    assert adjusted_rand_score(exact.labels_, labels) > 0.99


def test_spectral_clustering():
    options = {"n_clusters": 10, "n_neighbors": 8, "random_state": 0}
    scores = [
        adjusted_rand_score(
            SOME_LABELS,
            make_pipeline(
                transformer,
                SpectralClustering(affinity="precomputed_nearest_neighbors", **options),
            ).fit_predict(SOME),
        )
        for transformer in (
            ANNTransformer(n_neighbors=8),
            KNeighborsTransformer(n_neighbors=8),
        )
    ]
    assert scores[0] > 0.6
    assert scores[0] == pytest.approx(scores[1], abs=0.02)


def test_isomap():
    ours = make_pipeline(
        ANNTransformer(n_neighbors=12), Isomap(n_neighbors=12, metric="precomputed")
    )
    exact = Isomap(n_neighbors=12).fit_transform(SOME)
    embedded = ours.fit_transform(SOME)
    for ours_axis, exact_axis in zip(embedded.T, exact.T, strict=True):
        assert abs(np.corrcoef(ours_axis, exact_axis)[0, 1]) > 0.999
    placed = ours.transform(DIGITS[600:650])
    assert placed.shape == (50, 2)
    assert np.isfinite(placed).all()


def test_tsne():
    ours = make_pipeline(
        ANNTransformer(n_neighbors=31),
        TSNE(metric="precomputed", init="random", perplexity=10, random_state=0),
    )
    ours.set_params(tsne__max_iter=300)
    embedded = ours.fit_transform(SOME[:300])
    assert trustworthiness(SOME[:300], embedded, n_neighbors=5) > 0.93


def test_local_outlier_factor():
    far = np.vstack([SOME, 16 - SOME[:3]])
    ours = make_pipeline(
        ANNTransformer(n_neighbors=20),
        LocalOutlierFactor(n_neighbors=20, metric="precomputed", contamination=0.005),
    )
    assert (ours.fit_predict(far)[-3:] == -1).all()


def test_neighbours_for_umap():
    """Each sample first, then its neighbours: (indices, distances) of one shape."""
    twins = np.vstack([SOME, SOME[:50]])
    transformer = ANNTransformer(n_neighbors=14).fit(twins)
    distances, indices = transformer.kneighbors()
    indices = np.column_stack([np.arange(len(twins)), indices])
    distances = np.column_stack([np.zeros(len(twins)), distances])
    assert indices.shape == distances.shape == (650, 15)
    assert all(len(set(row)) == 15 for row in indices)
    assert (np.diff(distances, axis=1) >= 0).all()
    np.testing.assert_array_equal(indices[600:, 1], np.arange(50))
    assert not distances[600:, 1].any()


def test_the_pages_examples_run():
    page = (ROOT / "docs" / "scikit-learn.md").read_text("utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(examples) == 3
    names = {}
    for example in examples:
        exec(compile(example, "docs/scikit-learn.md", "exec"), names)
    assert names["labels"].max() > 3
    assert len(set(names["clusters"])) == 10
    for embedded in (names["plane"], names["map_of_digits"]):
        assert trustworthiness(names["few"], embedded, n_neighbors=5) > 0.8
    assert names["indices"].shape == names["distances"].shape == (1797, 15)


def test_the_page_names_every_parameter():
    page = (ROOT / "docs" / "scikit-learn.md").read_text("utf-8")
    parameters = page.split("## Parameters")[1].split("##")[0]
    for name in ANNTransformer().get_params():
        assert f"`{name}`" in parameters
