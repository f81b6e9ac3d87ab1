"""Metrics compared: what is proved, what is counted, and the command."""

import xml.etree.ElementTree as ET
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from typer.testing import CliRunner

import ann
from experiments import recall
from experiments.cli import app
from experiments.lessons import agreement, incident, lesson, popularity, ranks, sets
from experiments.lessons.notebook import Notebook
from experiments.plots.canvas import Canvas

# --- l2, cosine and ip rank unit vectors alike ----------------------------------------


def rational_unit(rng, d):
    """Return a point of the unit sphere with rational coordinates, exactly."""
    t = [Fraction(int(x)) for x in rng.integers(-9, 10, d - 1)]
    squares = sum(x * x for x in t)
    return [2 * x / (squares + 1) for x in t] + [(squares - 1) / (squares + 1)]


def order(values):
    return sorted(range(len(values)), key=lambda i: (values[i], i))


def test_l2_and_cosine_rank_unit_vectors_identically_in_exact_arithmetic():
    rng = np.random.default_rng(0)
    X = [rational_unit(rng, 4) for _ in range(60)]
    X += X[:10]  # ties, to be broken by id
    for q in (rational_unit(rng, 4) for _ in range(20)):
        assert sum(x * x for x in q) == 1
        products = [sum(a * b for a, b in zip(q, x, strict=True)) for x in X]
        squares = [sum((a - b) ** 2 for a, b in zip(q, x, strict=True)) for x in X]
        assert squares == [2 - 2 * product for product in products]
        by_l2 = order(squares)
        assert (
            by_l2 == order([1 - p for p in products]) == order([-p for p in products])
        )
        assert by_l2 != order(products)


def test_they_do_not_once_lengths_differ():
    rng = np.random.default_rng(0)
    X = [rational_unit(rng, 4) for _ in range(60)]
    longer = [[(1 + i % 3) * x for x in row] for i, row in enumerate(X)]
    q = rational_unit(rng, 4)
    products = [sum(a * b for a, b in zip(q, x, strict=True)) for x in X]
    squares = [sum((a - b) ** 2 for a, b in zip(q, x, strict=True)) for x in longer]
    assert order(squares) != order([-p for p in products])


def signs(n, seed):
    """Return vectors of ± 1/8 in 64 columns: norm 1, and products that float32 has."""
    return np.random.default_rng(seed).choice([-0.125, 0.125], (n, 64))


def test_indexes_rank_unit_vectors_identically_ties_included():
    X, Q = signs(600, 0), signs(40, 1)
    answers = {
        metric: ann.Flat(metric).add(X).search(Q, k=50) for metric in agreement.METRICS
    }
    ids, distances = answers["l2"]
    assert (np.diff(distances) == 0).mean() > 0.5  # most neighbours are tied
    for metric in ("cosine", "ip", "l1"):  # l1: each sign that differs costs 1/4
        np.testing.assert_array_equal(ids, answers[metric][0])
    assert (distances**2).max() <= 2
    np.testing.assert_allclose(distances**2 / 2, answers["cosine"][1], atol=1e-6)


def test_tiny_angles_are_ties_to_cosine_in_float32_and_not_to_l2():
    angles = 0.005 * (1 + 1e-4 * np.arange(50))
    X = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    by_l2, _ = ann.Flat("l2").add(X).search([1.0, 0.0], k=50)
    _, distances = ann.Flat("cosine").add(X).search([1.0, 0.0], k=50)
    np.testing.assert_array_equal(by_l2, np.arange(50))
    assert len(np.unique(distances)) < 10


def test_scaled_queries_change_no_ranking_under_ip():
    X, Q = signs(600, 0), signs(40, 1)
    index = ann.Flat("ip", norm_check="off").add(X)
    scale = 2.0 ** np.arange(40)[:, None]
    before, after = (index.search(queries, k=50)[0] for queries in (Q, scale * Q))
    np.testing.assert_array_equal(after, before)


# --- measures of agreement ------------------------------------------------------------


def test_the_textbook_case():
    notes = Notebook(None, seed=0, threads=1, progress=None)
    [lines] = agreement.textbook(notes).values()
    nearer = {line.metric: line.nearer for line in lines}
    assert nearer == {"l2": "A", "cosine": "B", "ip": "B", "l1": "A"}
    by = {line.metric: line for line in lines}
    assert (by["ip"].a, by["ip"].b) == (-27, -500)
    assert (by["l1"].a, by["l1"].b) == (3, 57 + 76)
    assert by["l2"].b == 95
    assert by["cosine"].b == pytest.approx(0, abs=1e-6)


def test_overlap_and_rank_biased_overlap_by_hand():
    a = np.array([[1, 2, 3, 4]])
    b = np.array([[2, 1, 9, 3]])
    assert ranks.overlap(a, b) == pytest.approx([0.75])
    p = 0.9  # agreement at depths 1 to 4: 0, 1, 2/3, 3/4
    parts = 0 + p * 1 + p**2 * 2 / 3 + p**3 * 3 / 4
    assert ranks.rank_biased_overlap(a, b, p) == pytest.approx(
        [(1 - p) * parts + 0.75 * p**4]
    )
    assert ranks.rank_biased_overlap(a, a) == pytest.approx([1])
    assert ranks.rank_biased_overlap(a, a + 10) == pytest.approx([0])


def test_kendall_counts_every_vector_once_and_ends_at_the_known_values():
    ids = np.array([[0, 1, 2, 0, 0, 0], [0, 1, 2, 3, 4, 5]])
    a = np.array([[1.0, 2, 3, 1, 1, 1], [1, 2, 3, 4, 5, 6]])
    b = np.array([[1.0, 3, 2, 1, 1, 1], [4, 5, 6, 1, 2, 3]])
    # one of 3 pairs is discordant; of 15 pairs the 9 across are, the 6 within not
    assert ranks.kendall(ids, a, b) == pytest.approx([1 / 3, -3 / 15])
    assert ranks.kendall(ids, a, -a) == pytest.approx([-1, -1])


# --- popularity and the incident ------------------------------------------------------


def test_lifting_turns_ip_into_l2():
    items = sets.popular(600, 50, 0)
    X, Q = popularity.lifted(items.X, items.Q)
    norms = np.linalg.norm(X, axis=1)
    np.testing.assert_allclose(norms, norms.max(), rtol=1e-6)
    best = ann.Flat("ip").add(items.X).search(items.Q)[0]
    found = ann.Flat("l2").add(X).search(Q)[0]
    hits = recall.recall(found, best, items.X, items.Q, "ip")
    assert hits.min() == 1


@pytest.fixture(name="taught", scope="module")
def _taught(tmp_path_factory):
    """Return the directory of a small lesson, and what was printed."""
    out = tmp_path_factory.mktemp("lesson") / "metrics"
    compared = sets.topics(600, 50, 0), sets.popular(600, 50, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sets, "SENTENCES", "not-there.hdf5")
        patch.setattr(agreement, "_compared", lambda notes: map(notes.use, compared))
        patch.setattr(popularity, "_MANY", 3000)
        patch.setattr(incident, "_ASKED", 300)
        patch.setenv("COLUMNS", "120")
        arguments = ["lesson", "metrics", "-n", "2000", "--out", str(out)]
        done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return out, done.stdout


@pytest.fixture(name="tables")
def _tables(taught):
    return lesson.read(taught[0])[0]


def test_metrics_agree_on_unit_vectors_and_not_on_popular_ones(tables):
    lines = tables[agreement.AGREEMENT]
    assert len(lines) == 2 * 6
    held = {(line.data, line.first, line.second): line for line in lines}
    same = held["topics", "l2", "cosine"]
    assert same.overlap > 0.999
    assert same.kendall > 0.999
    other = held["popular items", "cosine", "ip"]
    assert other.overlap < 0.5
    assert other.kendall < same.kendall
    assert other.overlap_low <= other.overlap <= other.overlap_high
    assert other.rbo < 0.5


def test_long_items_are_the_answers_and_the_graph_loses_none_that_matter(tables):
    tenths = tables[popularity.NORMS]
    assert [line.tenth for line in tenths] == list(range(1, 11))
    assert all(a.longest <= b.shortest for a, b in pairwise(tenths))
    assert tenths[0].ip == 0
    assert tenths[-1].ip > 0.7
    assert all(line.cosine > 0.9 for line in tenths)
    assert tenths[0].reached < tenths[-1].reached
    assert sum(line.lost for line in tenths) <= 2
    ways = {(line.way, line.ef_search): line for line in tables[popularity.WAYS]}
    assert ways[popularity.GRAPH, 80].recall > 0.98
    assert ways[popularity.BY_LIFTING, 0].recall == 1
    assert ways[popularity.BY_COSINE, 0].recall < 0.4
    assert ways[popularity.BY_COSINE, 0].score < ways[popularity.GRAPH, 80].score
    asked = tables[popularity.ANSWERED]
    assert asked[-1].ip < 0.5 * asked[-1].cosine


def test_a_few_long_rows_ruin_ip_alone_and_long_queries_nothing(tables):
    lines = tables[incident.INCIDENT]
    kept = {(line.metric, line.what, line.scaled): line.recall for line in lines}
    assert all(kept[metric, "rows", 0] == 1 for metric in incident.METRICS)
    assert kept["ip", "rows", 20] < 0.4
    assert kept["l2", "rows", 20] > 0.95
    assert kept["cosine", "rows", 200] > 0.999
    assert all(kept[metric, "queries", 300] > 0.999 for metric in incident.METRICS)


def test_the_figures_say_what_they_show(taught):
    out, printed = taught
    assert "left out: sentences, as there is no not-there.hdf5" in printed
    assert "8 figures" in printed
    told = ET.parse(out / "figures" / "textbook.svg").getroot().find("{*}desc").text
    assert "Under cosine B wins: 0 < 0.0739." in told
    told = ET.parse(out / "figures" / "incident.svg").getroot().find("{*}desc").text
    assert "topics, ip, 0 rows: 1.00." in told


def test_no_word_leaves_a_figure_or_meets_another(taught, monkeypatch, tmp_path):
    figures = []

    def kept(canvas, stem, title, description):
        canvas.figure.set_dpi(160)
        canvas.figure.canvas.draw()
        figures.append(canvas.figure)
        return []

    monkeypatch.setattr(Canvas, "save", kept)
    lesson.draw(*lesson.read(taught[0]), tmp_path)
    assert len(figures) == 4
    for figure in figures:
        words = [*figure.texts, *(text for ax in figure.axes for text in ax.texts)]
        boxes = [text.get_window_extent() for text in words if text.get_text()]
        for i, box in enumerate(boxes):
            assert figure.bbox.x0 <= box.x0
            assert box.x1 <= figure.bbox.x1
            assert not any(box.overlaps(other) for other in boxes[:i])
