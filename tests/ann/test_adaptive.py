"""A recall that is asked for: what calibration measures, and when it is refused."""

import numpy as np
import pytest

import ann
from ann import adaptive, truth
from tests.ann import reference
from tests.ann.data import clustered, gaussian
from tests.ann.test_saving import forged

X = np.concatenate([gaussian(2000, 20, seed=1) + 0.5, clustered(2000, 20, seed=2)])
Q = np.concatenate([gaussian(300, 20, seed=3) + 0.5, X[2000:2300] + 0.01])
KNOWN, NEW = Q[::2], Q[1::2]
SLACK = 0.035  # two means over 300 queries differ by 0.012, one standard error


def made(metric="l2", **more):
    return ann.HNSW(metric, M=8, ef_construction=60, **more).add(X)


@pytest.fixture(name="index", scope="module")
def _index():
    return made().calibrate(KNOWN)


def counted(index, queries=NEW, **options):
    counts = np.empty(len(queries), np.int64)
    found = index.search(queries, distance_computations=counts, **options)
    return found, counts


@pytest.mark.parametrize(
    ("metric", "more"),
    [("l2", {}), ("l1", {}), ("cosine", {"codec": ann.SQ(bits=8), "refine": 2})],
)
def test_a_target_is_held_on_other_queries(metric, more):
    index = made(metric, **more).calibrate(KNOWN)
    truth = ann.Flat(metric).add(X).search(NEW)[0]
    taken = []
    for target in (0.9, 0.95, 0.99):
        (ids, _), counts = counted(index, target_recall=target)
        assert reference.recall(ids, truth) == pytest.approx(target, abs=SLACK)
        taken.append(counts.mean())
    assert taken == sorted(set(taken))


def test_a_calibration_tells_what_epsilon_comes_to(index):
    known, truth = index.calibration, index.exact(KNOWN)
    assert (known.k, known.queries, known.n) == (10, 300, 4000)
    assert known.epsilons[0] == 0
    assert (np.diff(known.epsilons) > 0).all()
    assert known.recalls[-1] >= 0.999 > known.recalls[-2]
    for at in (0, 5, -1):
        found = index.search(KNOWN, epsilon=known.epsilons[at], taper=True)
        shares = [
            len(set(a) & set(b)) / 10 for a, b in zip(found[0], truth[0], strict=True)
        ]
        assert known.recalls[at] == pytest.approx(np.mean(shares), abs=1e-6)


def test_a_target_between_two_is_read_between_them():
    known = adaptive.Calibration(
        np.array([0.0, 0.1, 0.2, 0.3]), np.array([0.5, 0.7, 0.7, 0.9]), 10, 1, 1, 1
    )
    wanted = {0.0: 0.0, 0.5: 0.0, 0.6: 0.05, 0.7: 0.1, 0.8: 0.25, 0.9: 0.3}
    assert {r: known.epsilon(r) for r in wanted} == pytest.approx(wanted)
    with pytest.raises(ValueError, match=r"must be at most 0\.9000, .* got 0\.95$"):
        known.epsilon(0.95)


def test_a_taper_scores_fewer_and_is_the_same_in_every_way_to_search(index):
    whole, more = counted(index, epsilon=0.3)
    tapered, fewer = counted(index, epsilon=0.3, taper=True)
    assert (fewer <= more).all()
    assert fewer.sum() < 0.95 * more.sum()
    alone = [index.search(q, epsilon=0.3, taper=True) for q in NEW[:50]]
    np.testing.assert_array_equal([ids for ids, _ in alone], tapered[0][:50])
    lone = [index.search(q, epsilon=0.3)[0] for q in NEW[:50]]  # by turns
    np.testing.assert_array_equal(lone, whole[0][:50])
    for threads in (1, 2):
        again = index.search(NEW, epsilon=0.3, taper=True, threads=threads)
        np.testing.assert_array_equal(again, tapered)


def test_a_trace_tapers_too(index):
    (ids, _), counts = counted(index, target_recall=0.95)
    for q, found, count in zip(NEW[:20], ids, counts, strict=False):
        [trace] = index.trace(q, target_recall=0.95)
        np.testing.assert_array_equal(trace.ids, found)
        assert trace.distance_computations == count


@pytest.mark.parametrize("share", [0.9, 0.5, 0.01])
def test_a_filter_goes_with_a_target(index, share):
    passing = np.random.default_rng(0).random(len(X)) < share
    prepared = index.prepare_filter(passing)
    ids, _ = index.search(NEW, target_recall=0.95, filter=prepared)
    assert passing[ids[ids >= 0]].all()
    truth = ann.Flat().add(X[passing], np.flatnonzero(passing)).search(NEW)[0]
    assert reference.recall(ids, truth) > 0.9
    for q, row in zip(NEW[:10], ids, strict=False):
        alone = index.search(q, target_recall=0.95, filter=prepared)[0]
        np.testing.assert_array_equal(alone, row)


def test_equal_vectors_are_as_good_as_each_other():
    exact = np.array([[0, 1], [5, -1]]), np.array([[0.5, 1.0], [2.0, np.inf]], "f4")
    found = np.array([[1, 9], [7, 5]]), np.array([[1.0, 1.0], [2.0, 2.0]], "f4")
    assert truth.recalls(*found, *exact, 0.0).tolist() == [1.0, 1.0]
    worse = found[0], np.array([[1.0, 1.1], [2.1, np.inf]], "f4")
    assert truth.recalls(*worse, *exact, 0.0).tolist() == [0.5, 1.0]
    nothing = np.full((2, 2), -1), np.full((2, 2), np.inf, "f4")
    assert truth.recalls(*nothing, *exact, 0.0).tolist() == [0.0, 0.0]


def test_a_file_keeps_it(index, tmp_path):
    index.save(tmp_path / "index")
    other = ann.load(tmp_path / "index")
    for mine, theirs in zip(index.calibration, other.calibration, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(
        other.search(NEW, target_recall=0.95), index.search(NEW, target_recall=0.95)
    )
    other.save(tmp_path / "again")
    again = (tmp_path / "again").read_bytes()
    assert again == (tmp_path / "index").read_bytes()
    made().save(tmp_path / "plain")
    assert ann.load(tmp_path / "plain").calibration is None


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        ({"calibration_curve": lambda a: a * np.nan}, "must be finite"),
        ({"calibration_curve": lambda a: a[:, ::-1]}, "must ascend"),
        ({"calibration_curve": lambda a: 2 * a}, "must ascend, from 0 and to 1"),
        ({"calibration_about": lambda a: a - a.max() - 1}, "must be in"),
    ],
)
def test_a_forged_calibration_is_refused(index, damage, rule, tmp_path):
    forged(index, tmp_path / "index", **damage)
    with pytest.raises(ann.StorageError, match=rule):
        ann.load(tmp_path / "index")


def test_it_is_refused_when_much_has_changed():
    index = made().calibrate(KNOWN)
    index.remove(np.arange(200)).add(X[:200] + 0.001)
    index.search(NEW, target_recall=0.9)
    index.remove([200])
    with pytest.raises(ValueError, match=r"a tenth of 4000 vectors .* got 401: cali"):
        index.search(NEW, target_recall=0.9)
    index.compact().calibrate(KNOWN).search(NEW, target_recall=0.9)


def test_what_cannot_be_is_refused(index):
    cases = {
        r"needs k=10, for which the index was calibrated, got 5": {"k": 5},
        r"must not be given both, got 0.9 and 0.1": {"epsilon": 0.1},
        r"ef_search must be >= k=10, got 9": {"ef_search": 9},
    }
    for rule, options in cases.items():
        with pytest.raises(ValueError, match=rule):
            index.search(NEW, **{"k": 10, "target_recall": 0.9} | options)
    with pytest.raises(ValueError, match=r"taper needs epsilon, got None"):
        index.search(NEW, taper=True)
    with pytest.raises(ValueError, match=r"needs calibrate\(Q\), got no such call"):
        made().search(NEW, target_recall=0.9)
    with pytest.raises(ValueError, match="needs a vector inside, got none"):
        ann.HNSW().calibrate(KNOWN)
    with pytest.raises(ValueError, match="epsilon needs l2, cosine or l1"):
        ann.HNSW("ip").add(X[:50]).calibrate(KNOWN)
