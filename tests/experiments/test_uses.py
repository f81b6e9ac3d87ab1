"""Every use on little data: what it must come to, its figure, the command, the page."""

import itertools
import json
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from experiments.cli import app
from experiments.datasets.words import Words
from experiments.lessons.notebook import Notebook
from experiments.progress import Progress
from experiments.uses import (
    analogies,
    anomalies,
    classification,
    clusters,
    duplicates,
    meeting,
    panels,
    patches,
    recommendation,
    shown,
    sources,
    use,
    zero_shot,
)

ROOT = Path(__file__).parents[2]


def notebook(n=None):
    return Notebook(n, 0, 2, Progress(Console(quiet=True), 1))


def planted_words(path):
    """Write words whose sex, age or place is a column, as GloVe does."""
    rng = np.random.default_rng(0)
    pairs = [pair.split() for pair in analogies.FAMILIES["man, woman"].split("|")]
    lines = []
    for a, b in pairs:
        common = rng.standard_normal(12)
        for word, sex in ((a, 1.0), (b, -1.0)):
            row = [*common, 2 * sex, *(0.1 * rng.standard_normal(3))]
            lines.append(f"{word} {' '.join(f'{x:.4f}' for x in row)}\n")
    for i in range(200):
        row = rng.standard_normal(16)
        lines.append(f"word{i} {' '.join(f'{x:.4f}' for x in row)}\n")
    path.write_text("".join(lines))


@pytest.fixture(name="done", scope="module")
def _done(tmp_path_factory):
    """Return what every use comes to, small."""
    vectors = tmp_path_factory.mktemp("uses") / "planted.txt"
    planted_words(vectors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "LIBRARIES", ("scipy",))
        return {
            "duplicates": duplicates.use(notebook(700)),
            "classification": classification.use(notebook()),
            "zero-shot": zero_shot.use(notebook()),
            "anomalies": anomalies.use(notebook(900)),
            "clusters": clusters.use(notebook(700)),
            "recommendation": recommendation.use(notebook()),
            "analogies": analogies.use(notebook(), vectors),
            "patches": patches.use(notebook(3000)),
        }


@pytest.fixture(name="merits")
def _merits(done):
    return {name: each.merits for name, each in done.items()}


# --- what they come to ----------------------------------------------------------------


def test_all_are_here(done):
    assert list(done) == list(use.USES)
    assert all(len(use.about(name)) > 30 for name in use.USES)


def test_copies_are_found_and_few_pairs_are_read(merits):
    found = merits["duplicates"]
    assert found["planted copies found"] > 0.9
    assert found["pairs to read"] < 0.01 * 770**2 / 2
    assert found["of which duplicates"] > 0.5
    assert found["texts kept"] <= 770 - 0.9 * 70


def test_duplicates_are_judged_and_the_first_is_kept():
    text = " ".join(f"word{i}" for i in range(40))
    rng = np.random.default_rng(0)
    copy = duplicates.edited(text, rng)
    assert copy != text
    assert duplicates.alike(text, copy)
    assert not duplicates.alike(text, " ".join(reversed(text.split())))
    pairs = [duplicates.Pair(*pair, 0.0) for pair in ((0, 2), (2, 3), (1, 4))]
    assert duplicates.firsts(5, pairs) == {0, 1, 3}  # 3 is like 2, which has gone


def test_digits_are_classified_and_doubt_helps(merits):
    found = merits["classification"]
    assert found["accuracy, 5 nearest by cosine"] > 0.97
    assert found["accuracy where all 5 agree"] > 0.99
    assert 0.8 < found["share where all 5 agree"] < 0.95
    assert found["neighbours as in exact search"] > 0.99


def test_print_names_handwriting_and_neighbours_help(merits):
    steps = list(merits["zero-shot"].values())
    assert steps[0] > 0.5
    assert steps[2] > 0.57
    assert steps[3] > steps[2] + 0.05


def test_prototypes_are_of_the_digits_they_are_called():
    fonts = zero_shot.prototypes((0.0,))
    flat = fonts.reshape(-1, 64)
    called = np.repeat(np.arange(10), fonts.shape[1])
    likeness = (flat / np.linalg.norm(flat, axis=1, keepdims=True)) @ flat.T
    likeness /= np.linalg.norm(flat, axis=1)
    np.fill_diagonal(likeness, 0)
    assert (called[likeness.argmax(axis=1)] == called).mean() > 0.9
    assert fonts.max() <= 1
    assert fonts[1].mean() < fonts[8].mean()


def test_strangers_are_far_from_neighbours_and_not_from_the_mean(merits):
    found = merits["anomalies"]
    assert found["worst AUC, neighbours"] > 0.9
    assert found["mean AUC, neighbours"] > found["mean AUC, ellipsoid"] + 0.05
    assert found["worst AUC, mean"] < 0.5


def test_the_graph_clusters_better_than_k_means(merits):
    found = merits["clusters"]
    plain = found["adjusted Rand index, k-means"]
    assert found["adjusted Rand index, graph of 7"] > plain
    assert found["in the cluster of their digit"] > 0.65


def test_clusters_are_called_by_what_they_hold():
    y = np.repeat(np.arange(10), 5)
    assert (clusters.numbered((y + 3) % 10, y) == y).all()


def test_ip_recommends_the_popular_and_cosine_the_rare(merits):
    found = merits["recommendation"]
    ways = {
        way: (
            found[f"hidden name found, {way}"],
            found[f"a rare one found, {way}"],
            found[f"names ever recommended, {way}"],
        )
        for way in ("ip", "cosine", recommendation.POPULAR)
    }
    assert ways["ip"][0] > 1.5 * ways["cosine"][0]
    assert ways[recommendation.POPULAR][1] < 0.05
    assert ways["cosine"][2] > 1.5 * ways["ip"][2]
    assert ways["ip"][2] > 1.3 * ways[recommendation.POPULAR][2]


def test_nothing_is_recommended_that_is_there():
    seen = np.zeros((2, 14), np.float32)
    seen[0, [0, 2]] = 1
    ids = recommendation.fresh(np.tile(np.arange(14), (2, 1)), seen)
    assert ids[0].tolist() == [1, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert ids[1].tolist() == list(range(10))


def test_king_minus_man_plus_woman_is_queen_in_a_file_that_says_so(done, tmp_path):
    found = done["analogies"].merits
    assert found["man, woman, right"] > 0.95
    assert found["words"] == 220
    planted_words(tmp_path / "planted.txt")
    words = analogies.word_files.read(tmp_path / "planted.txt")
    asked = analogies.Analogies(words)
    [answer] = asked.answers([("man", "king", "woman")])
    assert answer[0] == "queen"
    assert not {"man", "king", "woman"} & set(answer)
    assert len(answer) == analogies.K


def test_vectors_without_any_family_are_refused(monkeypatch):
    few = Words(["king", "queen"], np.eye(2, dtype=np.float32))
    monkeypatch.setattr(meeting, "of_documentation", lambda: few)
    with pytest.raises(ValueError, match="must have both words of 4 pairs"):
        analogies.use(notebook())


def test_words_that_keep_company_are_near():
    rng = np.random.default_rng(0)
    heaps = [("cat", "dog", "cow", "hen"), ("red", "blue", "green", "pink")]
    texts = [" ".join(rng.choice(heaps[i % 2], 8)) for i in range(400)]
    words = meeting.learn(texts, columns=4, least=5)
    X = words.X / np.linalg.norm(words.X, axis=1, keepdims=True)
    rows = [words.row(word) for heap in heaps for word in heap]
    likeness = X[rows] @ X[rows].T
    assert likeness[:4, :4].min() > 0.5
    assert likeness[:4, 4:].max() < 0.2


def test_meetings_are_counted_both_ways_and_not_across_an_end():
    counts = meeting.met(np.array([0, 1, -1, -1, -1, -1, -1, 1]), 2).toarray()
    np.testing.assert_array_equal(counts, [[0, 1], [1, 0]])
    counts = meeting.met(np.array([0, 1, 0]), 2).toarray()
    np.testing.assert_array_equal(counts, [[1, 2], [2, 0]])  # two apart: a half, twice


def test_patches_of_a_kind_are_of_one_photograph(merits):
    found = merits["patches"]
    assert found["same photograph, l2"] > 0.85
    assert found["recall@10, l2"] > 0.97
    assert found["recall@10, cosine"] > 0.95


def test_of_windows_that_overlap_the_best_is_kept():
    places = np.array([[0, 0, 0], [0, 3, 3], [1, 0, 0], [0, 3, 15], [0, 9, 12]])
    assert patches.apart(np.array([1, 0, 3, 2, 4]), places) == [1, 3, 2]
    assert patches.nearest_place(places, (1, 50, 50)) == 2


def test_windows_are_where_they_say():
    photographs = np.random.default_rng(0).random((2, 30, 36, 3), np.float32)
    cut = patches.windows(photographs)
    for row in (0, 7, -1):
        which, top, left = cut.places[row]
        window = photographs[which, top : top + 12, left : left + 12]
        np.testing.assert_array_equal(cut.X[row], window.ravel())


def test_sources_are_read_and_tests_are_left_out():
    names = {name for name, _ in sources.modules(("sklearn",))}
    assert {"heapq", "json", "sklearn.utils"} <= names
    assert not any("tests" in name.split(".") for name in names)
    assert not any(name.startswith("numpy") for name in names)
    described = dict(itertools.islice(sources.described(), 100))
    assert len(described) > 50
    assert not any("\n" in text for text in described.values())


# --- figures, the command, the page ---------------------------------------------------


@pytest.mark.parametrize("name", use.USES)
def test_figures_hold_their_words_and_are_small(done, name, tmp_path):
    canvas = done[name].canvas({"commit": "0" * 40, "started": "2026-01-01"})
    figure = canvas.figure
    figure.set_dpi(shown.DPI)
    figure.canvas.draw()
    for text in figure.texts:
        box = text.get_window_extent()
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
    path = tmp_path / "figure.png"
    shown.save(canvas, path, done[name].told())
    assert 10_000 < path.stat().st_size < 200_000
    with Image.open(path) as image:
        assert image.text["Description"].startswith(done[name].title)


def test_images_are_laid_out_in_rows():
    images = np.arange(3)[:, None, None] * np.ones((1, 2, 2))
    sheet = panels.mosaic(images, 2, paper=9, rim=1)
    expected = [
        [0, 0, 9, 1, 1],
        [0, 0, 9, 1, 1],
        [9, 9, 9, 9, 9],
        [2, 2, 9, 9, 9],
        [2, 2, 9, 9, 9],
    ]
    np.testing.assert_array_equal(sheet, expected)


def test_the_command_lists_runs_and_refuses(tmp_path, done, monkeypatch):
    ran = CliRunner().invoke(app, ["use"])
    assert [line.split()[0] for line in ran.stdout.splitlines()] == list(use.USES)
    asked = []
    monkeypatch.setitem(
        use.USES, "clusters", lambda notes: asked.append(notes) or done["clusters"]
    )
    out = tmp_path / "out"
    arguments = ["use", "clusters", "-n", "800", "--seed", "3", "--out", str(out)]
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 0, ran.output
    assert (asked[0].n, asked[0].seed) == (800, 3)
    assert "k-means" in ran.stdout
    told = json.loads((out / "clusters.json").read_text())
    assert told["config"] == {"name": "clusters", "n": 800, "seed": 3}
    assert told["merits"] == dict(done["clusters"].merits)
    assert Image.open(BytesIO((out / "clusters.png").read_bytes())).width > 1000
    for wrong, message in (
        (["use", "chess"], "a use must be one of duplicates"),
        (["use", "clusters", "-n", "10"], "n must be at least 500, got 10"),
        (["use", "--all", "--vectors", "x.txt"], "--vectors is for analogies alone"),
        (["use", "analogies", "--vectors", "no.txt"], "No such file"),
    ):
        ran = CliRunner().invoke(app, wrong)
        assert ran.exit_code == 2
        assert message in ran.stderr


def test_the_pages_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "uses.md").read_text("utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(examples) == len(use.USES)
    for example in examples:  # each stands by itself
        assert len(example.splitlines()) <= 20
        exec(compile(example, "docs/uses.md", "exec"), {})
    for name in use.USES:
        assert f"results/uses/{name}.png" in page
