import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import ann
from experiments import auditing
from experiments.cli import app
from experiments.plots import anatomy
from experiments.plots.canvas import Canvas
from tests.ann.populations import counts, sentences


@pytest.fixture(name="run")
def _run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")
    return lambda *arguments: CliRunner().invoke(app, ["audit", *arguments])


def mixed():
    X, Q = sentences(5)
    X[::10] *= 60
    return X, Q


def test_a_file_with_a_fault_is_told_drawn_and_ends_with_1(run, tmp_path):
    X, Q = mixed()
    np.save("x.npy", X)
    np.save("q.npy", 60 * Q)
    done = run("x.npy", "--queries", "q.npy")
    assert done.exit_code == 1, done.output
    text = " ".join(done.stdout.split())
    assert "x: 2,400 × 64 float32, 300 queries" in text
    for code in ("mixed-norms", "query-norms"):
        assert f"✖ {code}" in text
    assert "90 % of the rows have norm 1 and 10 % (240) have not" in text
    assert "Advice: metric='cosine', normalised" in text
    out = tmp_path / "audits"
    assert {path.name for path in out.iterdir()} == {
        "x-audit.txt",
        "x-audit.png",
        "x-audit.svg",
    }
    letter = (out / "x-audit.txt").read_text(encoding="utf-8")
    assert letter == f"{ann.audit(X, 60 * Q)}\n"
    with Image.open(out / "x-audit.png") as picture:
        assert picture.size[0] == round(anatomy.WIDTH * 160)
    told = ET.parse(out / "x-audit.svg").getroot().find("{*}desc").text
    assert "mixed-norms: 90 % of the rows have norm 1" in told


def test_a_clean_file_ends_with_0_and_its_own_queries_are_used(run):
    X, Q = counts(5)
    np.savez("set.npz", train=X, test=Q, distance="euclidean")
    done = run("set.npz", "--out", "here")
    assert done.exit_code == 0, done.output
    text = " ".join(done.stdout.split())
    assert "300 queries Nothing found that is wrong." in text
    assert "You mean to use l2, and so would this audit." in text
    assert run("set.npz", "--queries", "set.npz", "--metric", "ip").exit_code == 0


def test_a_dataset_is_audited_by_its_name(run):
    done = run("digits-64-euclidean", "--sample", "500", "--seed", "3")
    assert done.exit_code == 0, done.output
    text = " ".join(done.stdout.split())
    assert "3 of 64 columns" in text
    assert "500 of 1,797 rows" in text
    assert "seed 3" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.npy"], "none.npy: no such file"),
        (["x.npy", "--metric", "near"], "metric must be one of"),
        (["x.npy", "--queries", "wide.npy"], "queries must have d=3 columns, got 4"),
    ],
)
def test_a_mistake_is_one_line_and_ends_with_2(run, arguments, message):
    np.save("x.npy", np.eye(3))
    np.save("wide.npy", np.eye(4))
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


# --- the sheet ------------------------------------------------------------------------


def _noise(n, d):
    return np.random.default_rng(0).standard_normal((n, d))


SETS = {
    "clean": counts(5),
    "mixed": mixed(),
    "no queries": (sentences(5)[0], None),
    "few": (np.eye(3), np.eye(3)),
    "all NaN": (np.full((300, 4), np.nan), np.full((3, 4), np.nan)),
    "all equal": (np.ones((300, 4)), np.ones((3, 4))),
    "one column": (_noise(300, 1), _noise(30, 1)),
    "wide apart": (_noise(1200, 8) * 20.0 ** np.arange(8), None),
}


@pytest.fixture(name="sheets")
def _sheets(monkeypatch):
    seen = []

    def kept(canvas, stem, title, description):
        canvas.figure.set_dpi(160)
        canvas.figure.canvas.draw()
        seen.append((canvas.figure, title, description))
        return []

    monkeypatch.setattr(Canvas, "save", kept)
    return seen


@pytest.mark.parametrize("kind", SETS)
def test_any_set_has_a_sheet_whose_words_are_inside_and_apart(kind, sheets, tmp_path):
    X, Q = SETS[kind]
    found = ann.audit(X, Q)
    anatomy.draw(found, "a set", "a file", tmp_path / "sheet")
    [(figure, title, description)] = sheets
    assert title == f"a set: {', '.join(found.codes) or 'nothing is wrong'}"
    assert all(finding.sentence in description for finding in found.findings)
    boxes = [text.get_window_extent() for text in figure.texts if text.get_text()]
    for box in boxes:
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0
        assert box.y1 <= figure.bbox.y1
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_the_sheet_shows_the_norms_of_rows_and_queries(sheets, tmp_path):
    X, Q = mixed()
    anatomy.draw(ann.audit(X, 60 * Q), "x", "x.npy", tmp_path / "sheet")
    axes = sheets[0][0].axes
    assert len(axes) == 8
    steps = [
        patch.get_data() for patch in axes[0].patches if hasattr(patch, "get_data")
    ]
    rows, _, queries = steps  # the rows' fill and outline, and the queries' outline
    share = {round(float(rows.edges[i]), 1): v for i, v in enumerate(rows.values) if v}
    assert sum(share.values()) == pytest.approx(1)
    assert len(share) >= 2
    assert max(queries.values) == pytest.approx(1, abs=0.01)
    assert axes[0].get_xscale() == "log"


def test_a_set_without_queries_says_so_on_the_sheet(sheets, tmp_path):
    X, _ = sentences(5)
    anatomy.draw(ann.audit(X), "x", "x.npy", tmp_path / "sheet")
    said = [text.get_text() for ax in sheets[0][0].axes for text in ax.texts]
    assert said.count("no queries given") == 2
    assert "queries" not in {text.get_text() for text in sheets[0][0].texts[:3]}


def test_a_report_names_files_without_their_folders(tmp_path):
    X, Q = counts(5)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "q.npy", Q)
    made = auditing.audit(str(tmp_path / "x.npy"), str(tmp_path / "q.npy"))
    assert (made.name, made.source) == ("x", "x.npy; queries: q.npy")
    assert made.found.codes == ()
