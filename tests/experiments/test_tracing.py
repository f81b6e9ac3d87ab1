import json
import xml.etree.ElementTree as ET
from io import StringIO

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from experiments import datasets, tracing
from experiments.cli import app
from experiments.plots import around, scans, searches, walks
from experiments.plots.plane import INNER, Plane, Scale
from experiments.strict import ConfigError

K = 10


@pytest.fixture(scope="module", name="digits")
def _digits(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return datasets.load("digits-64-euclidean", n=900, nq=40, truth_k=K, cache=cache)


def setting(kind="HNSW", build="{}", search="{}", k=K):
    return tracing.Setting.of(kind, build, search, k, seed=0)


@pytest.fixture(scope="module", name="walk")
def _walk(digits):
    chosen = setting(build='{"M": 6}', search='{"ef_search": 12}')
    return tracing.trace(digits, 7, chosen)


@pytest.fixture(scope="module", name="scan")
def _scan(digits):
    chosen = setting("IVF", '{"nlist": 20}', '{"nprobe": 4}')
    return tracing.trace(digits, 7, chosen)


def shown(case, every=False):
    text = StringIO()
    Console(width=100, file=text).print(tracing.table(case, every))
    return [line.split() for line in text.getvalue().splitlines() if line.strip()]


def test_a_setting_tells_what_was_set():
    assert setting().short == "HNSW"
    assert setting(search='{"epsilon": 0.1}').short == "HNSW: epsilon = 0.1"


# --- settings -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Flat",), r"--index: unknown index 'Flat' \(known: HNSW, IVF\)"),
        (("HNSW", "{"), r"--build: must be JSON, got '{'"),
        (("HNSW", "[1]"), r"--build: must be a table of JSON, got '\[1\]'"),
        (("HNSW", '{"m": 8}'), r"--build: unknown key 'm', did you mean 'M'\?"),
        (
            ("IVF", '{"transform": {"kind": "PCA", "d_out": 8}}'),
            r"--build: transform must be left out, .*, got PCA8",
        ),
        (("IVF", "{}", '{"nprobe": 0}'), r"--search.nprobe: .* got 0"),
        (("IVF", "{}", "{}", 0), r"-k: must be >= 1, got 0"),
    ],
)
def test_a_setting_is_checked(arguments, message):
    with pytest.raises(ConfigError, match=message):
        setting(*arguments)


def test_a_query_and_its_neighbours_must_be_there(digits):
    for query in (-1, 40):
        message = rf"--query must be in \[0, 39\], got {query}"
        with pytest.raises(ValueError, match=message):
            tracing.trace(digits, query, setting())
    with pytest.raises(ValueError, match=r"-k must be <= 10.* got 11"):
        tracing.trace(digits, 0, setting(k=11))


def test_candidates_that_are_kept():
    codec = '{"codec": {"kind": "SQ"}, "refine": 2.5}'
    assert setting(build=codec, k=5).kept == 13
    assert setting(k=5).kept == 5


def test_ordinals():
    written = [tracing.ordinal(k) for k in (1, 2, 3, 4, 11, 112, 21, 103)]
    assert " ".join(written) == "1st 2nd 3rd 4th 11th 112th 21st 103rd"


# --- a case ---------------------------------------------------------------------------


def test_a_case_is_the_index_s_own_search(digits, walk):
    import ann

    index = ann.HNSW("l2", M=6, seed=0).add(digits.train)
    ids, distances = index.search(digits.test[7], k=K, ef_search=12)
    np.testing.assert_array_equal(walk.trace.ids, ids)
    np.testing.assert_array_equal(walk.trace.distances, distances)
    hits = set(ids) & set(digits.neighbors[7])
    assert walk.recall == len(hits) / K
    facts = " ".join(tracing.facts(walk))
    assert f"{len(hits)} of the 10 nearest found" in facts
    assert f"{walk.trace.hops} hops" in facts
    assert "HNSW: M = 6, ef_construction = 200, ef_search = 12" in facts


def test_true_distances_of_rows(digits, walk):
    true = np.linalg.norm(digits.train[:5] - digits.test[7], axis=1)
    np.testing.assert_allclose(walk.distances(np.arange(5)), true, rtol=1e-6)


def test_the_table_of_a_walk_has_every_step(walk):
    head, _, *lines = shown(walk, every=True)
    assert head == ["step", "layer", "node", "distance", "scored", "pool's", "last"]
    steps = [*walk.trace.entry, *walk.trace.steps]
    assert len(lines) == len(steps)
    for number, (line, step) in enumerate(zip(lines, steps, strict=True), start=1):
        worst = f"{step.worst:.5g}" if np.isfinite(step.worst) else "–"
        told = [number, step.layer, step.id, f"{step.distance:.5g}", step.scored, worst]
        assert line == [str(each) for each in told]


def test_a_long_table_is_cut_in_the_middle(digits):
    long = tracing.trace(digits, 7, setting(search='{"ef_search": 80}'))
    lines = shown(long)[2:]
    assert len(lines) == tracing.FIRST + 1 + tracing.LAST
    assert set(lines[tracing.FIRST]) == {"…"}
    assert lines[-1][0] == str(long.trace.hops)


def test_the_table_of_lists(scan):
    head, _, *lines = shown(scan)
    assert head[:3] == ["turn", "list", "vectors"]
    assert "10th best at" in " ".join(head)
    assert [line[1] for line in lines] == [str(v.list) for v in scan.trace.visits]
    changed = [line[-1] == "yes" for line in lines]
    assert changed == [visit.changed for visit in scan.trace.visits]
    assert changed[0]


# --- the plane ------------------------------------------------------------------------


def test_a_scale_keeps_the_order_and_its_ends():
    scale = Scale.of(2.0, 3.0, 10.0)
    assert scale(2.0) == pytest.approx(INNER)
    assert scale(10.0) == pytest.approx(1.0)
    radii = scale(np.linspace(2, 12, 50))
    assert (np.diff(radii) > 0).all()
    assert scale(3.0) > scale._replace(power=1.0)(3.0)  # the near get more room
    assert scale(1.0) == scale(2.0)  # nothing is nearer than the nearest


@pytest.mark.parametrize(
    "values", [(1.0, 1.0, 1.0), (0.0, 5.0, 5.0), (-9.0, -3.0, 4.0), (0.0, 1e-9, 1.0)]
)
def test_a_scale_of_anything(values):
    scale = Scale.of(*values)
    assert np.isfinite(scale(np.array([values[0], values[1], values[2], 100.0]))).all()
    ticks = scale.ticks()
    assert len(ticks) <= 5
    assert all(scale.near <= tick <= scale.far for tick in ticks)
    assert (np.diff(scale(ticks)) > 0.12).all()


def test_ticks_are_round():
    assert Scale.of(14.7, 30.0, 52.0).ticks() == [15, 20, 30, 40, 50]


def test_a_place_tells_the_distance_and_the_direction():
    rng = np.random.default_rng(0)
    q = rng.standard_normal(8)
    V = q + rng.standard_normal((300, 8)) * [9, 5, 1, 1, 1, 1, 1, 1]
    distances = np.linalg.norm(V - q, axis=1)
    scale = Scale.of(distances.min(), np.median(distances), distances.max())
    plane = Plane(q, V, scale)
    places = plane.place(V, distances)
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), scale(distances))
    # The two directions of the most variance are the first two components.
    angle = np.arctan2(places[:, 1], places[:, 0])
    true = np.arctan2(*(V - q)[:, [1, 0]].T)
    flat = np.linalg.norm((V - q)[:, :2], axis=1) > 0.9 * distances
    apart = np.exp(1j * (angle[flat] - true[flat]))
    mirrored = np.exp(1j * (angle[flat] + true[flat]))
    assert max(abs(apart.mean()), abs(mirrored.mean())) > 0.95
    assert 0.5 < plane.share <= 1


def test_a_plane_of_one_dimension_and_of_the_query_itself():
    q = np.zeros(1)
    places = Plane(q, np.ones((4, 1)), Scale.of(0, 1, 2)).place(
        np.array([[0.0], [1.0], [-2.0]]), np.array([0.0, 1.0, 2.0])
    )
    assert places.shape == (3, 2)
    assert np.isfinite(places).all()


# --- pictures -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["walk", "scan"])
def test_pictures_and_film(name, request, tmp_path):
    case = request.getfixturevalue(name)
    png, svg, gif = searches.draw(case, tmp_path / "a")
    title = ET.parse(svg).getroot().findtext("{http://www.w3.org/2000/svg}title")
    assert title.startswith("One search of an")
    with Image.open(png) as image:
        assert image.info["Title"] == title
        told = image.info["Description"]
    assert all(fact in told for fact in tracing.facts(case))
    turns = case.trace.hops if name == "walk" else len(case.trace.visits)
    with Image.open(gif) as film:
        assert (film.n_frames, film.info["loop"]) == (turns, 0)
    assert gif.stat().st_size < 400_000


def test_the_same_search_is_the_same_picture(scan, tmp_path):
    one, other = (searches.draw(scan, tmp_path / name) for name in "ab")
    for path, again in zip(one, other, strict=True):
        assert path.read_bytes() == again.read_bytes()


def test_a_film_shows_colours_that_are_rare(walk, tmp_path):
    *_, gif = searches.draw(walk, tmp_path / "a")
    with Image.open(gif) as film:
        film.seek(film.n_frames - 1)
        pixels = np.asarray(film.convert("RGB")).reshape(-1, 3).astype(int)
    for colour in (around.ENTRY, around.NEAREST):
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(pixels - wanted).sum(axis=1) == 0).sum() > 10


def test_a_walk_stands_where_its_nodes_do(walk):
    drawn = walks.Walk(walk, walk.trace)
    steps = [*walk.trace.entry, *walk.trace.steps]
    scale = drawn.scene.plane.scale
    radii = np.linalg.norm(drawn.expanded, axis=1)
    expected = scale([step.distance for step in steps])
    np.testing.assert_allclose(radii, expected, rtol=1e-4)
    assert drawn.stop(len(steps)) == len(walk.trace.scored)
    lines = drawn.links(np.arange(len(walk.trace.scored)))
    assert len(lines) == len(walk.trace.scored) - 1  # nothing led to the entry point
    np.testing.assert_array_equal(lines[:, 1], drawn.scored[1:])


def test_the_picture_of_a_walk_has_its_links_and_rings(walk, tmp_path, monkeypatch):
    kept = []
    save = around.Canvas.save

    def keep(canvas, *arguments):
        kept.append(canvas.figure)
        return save(canvas, *arguments)

    monkeypatch.setattr(around.Canvas, "save", keep)
    walks.picture(walk, walk.trace, tmp_path / "a")
    ax = kept[0].axes[0]
    links = [c for c in ax.collections if isinstance(c, LineCollection)]
    assert max(len(c.get_segments()) for c in links) == len(walk.trace.scored) - 1
    rings = [line for line in ax.lines if line.get_mec() == around.NEAREST]
    assert len(rings) == round(walk.recall * K)


def test_a_scan_has_every_list_once(scan):
    drawn = scans.Scan(scan, scan.trace)
    turns = list(drawn.turns())
    assert [turn.visit for turn in turns] == list(scan.trace.visits)
    assert len({turn.colour for turn in turns}) == len(turns)
    assert len(drawn.centroids) == scan.trace.centroids == 20
    for turn in turns:
        radii = np.linalg.norm(turn.places, axis=1)
        expected = drawn.scene.plane.scale(scan.distances(turn.visit.ids))
        np.testing.assert_allclose(radii, expected)


@pytest.mark.parametrize("metric", ["ip", "cosine", "l1"])
def test_other_metrics_and_codes_can_be_drawn(digits, metric, tmp_path):
    data = datasets.load(
        "digits-64-euclidean", n=300, nq=5, truth_k=K, metric=metric, cache=tmp_path
    )
    codec = '{"codec": {"kind": "SQ"}, "refine": 2}'
    for kind, search in (("HNSW", "{}"), ("IVF", '{"nprobe": 4}')):
        case = tracing.trace(data, 0, setting(kind, codec, search))
        assert case.trace.estimated > 0
        assert len(searches.draw(case, tmp_path / kind)) == 3


def test_films_of_long_walks_skip_steps():
    assert around.groups(3) == [1, 2, 3]
    long = around.groups(1000)
    assert len(long) == around.MOST_FRAMES
    assert long[-1] == 1000
    assert long == sorted(set(long))


# --- the command ----------------------------------------------------------------------


@pytest.fixture(name="command")
def _command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANN_CACHE", str(tmp_path / "cache"))
    return lambda *arguments: CliRunner().invoke(app, ["trace", *arguments])


def test_the_command_tells_draws_and_says_where_it_is_from(command, tmp_path):
    done = command(
        "digits-64-euclidean", "-n", "300", "--search", '{"ef_search": 10}',
        "--query", "3", "--out", "there",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "pool's last" in done.stdout
    stem = "digits-64-euclidean-hnsw-query-3"
    names = {path.name for path in (tmp_path / "there").iterdir()}
    assert names == {f"{stem}.{end}" for end in ("png", "svg", "gif", "json")}
    about = json.loads((tmp_path / "there" / f"{stem}.json").read_text("utf-8"))
    assert about["dataset"]["n"] == 300
    assert about["search"] == {"ef_search": 10}
    assert len(about["ids"]) == 10
    assert about["scored_exactly"] > 10
    assert {"command", "commit", "libraries", "python"} <= about.keys()


def test_the_command_stops_with_one_clear_line(command):
    done = command("digits-64-euclidean", "--index", "IVF", "--search", '{"nprob": 1}')
    assert done.exit_code == 2
    assert done.stderr == (
        "--search: unknown key 'nprob', did you mean 'nprobe'? "
        "(known: nprobe, patience)\n"
    )
