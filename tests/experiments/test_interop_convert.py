"""Algorithm files of ann-benchmarks and VIBE: expanded, translated, written as TOML."""

import re
import tomllib
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import experiments.interop.ann_benchmarks as ours_there
from experiments import config, plan
from experiments.cli import app
from experiments.interop import convert
from experiments.interop.definitions import Definition, expand
from experiments.interop.wrappers import TranslationError, translate
from experiments.strict import ConfigError

EUCLIDEAN = {"@metric": "euclidean", "@dimension": 64, "@count": 10}
HNSWLIB = """
float:
  any:
  - name: hnswlib
    constructor: HnswLib
    module: ann_benchmarks.algorithms.hnswlib
    docker_tag: ann-benchmarks-hnswlib
    disabled: false
    base_args: ['@metric']
    run_groups:
      M-12:
        arg_groups: [{M: 12, efConstruction: 500}]
        args: {}
        query_args: [[10, 20, 40]]
      M-24:
        arg_groups: [{M: 24, efConstruction: 500}]
        args: {}
        query_args: [[10, 20, 40]]
"""


def expanded(text, distances=("euclidean",), values=EUCLIDEAN, point_type="float"):
    return expand(yaml.safe_load(text), point_type, distances, values)


def algorithm(**parts):
    base = {"name": "a", "constructor": "C", "module": "m", "base_args": ["@metric"]}
    return {"float": {"any": [base | parts]}}


def settings(**group):
    found = expand(
        algorithm(run_groups={"g": group}), "float", ["euclidean"], EUCLIDEAN
    )
    return [list(each.arguments) for each in found], [
        list(each.queries) for each in found
    ]


# --- expansion


def test_lists_are_products_by_position():
    arguments, queries = settings(args=[[1, 2], "x"], query_args=[[3, 4], [5, 6]])
    assert arguments == [["euclidean", 1, "x"], ["euclidean", 2, "x"]]
    assert queries == [[[3, 5], [3, 6], [4, 5], [4, 6]]] * 2


def test_mappings_are_products_by_key():
    arguments, queries = settings(args={"M": [4, 8], "ef": 9}, query_args={"e": [1, 2]})
    assert arguments == [
        ["euclidean", {"M": 4, "ef": 9}],
        ["euclidean", {"M": 8, "ef": 9}],
    ]
    assert queries == [[{"e": 1}, {"e": 2}]] * 2


def test_groups_go_before_args_and_are_products_of_grids():
    arguments, _ = settings(
        args={"ignored": 1}, arg_groups=[{"M": [4, 8]}, ["a", "b"], 7]
    )
    assert arguments == [
        ["euclidean", {"M": m}, letter, 7] for m in (4, 8) for letter in "ab"
    ]


def test_without_any_arguments_there_is_one_choice():
    assert settings() == ([["euclidean"]], [[[]]])
    assert settings(args=[], query_args=[]) == ([["euclidean"]], [[[]]])


def test_names_are_substituted_everywhere():
    arguments, _ = settings(args=["@count", {"d": "@dimension", "deep": ["@metric"]}])
    assert arguments == [["euclidean", 10, {"d": 64, "deep": ["euclidean"]}]]


def test_the_layout_of_old_with_names_as_keys_and_dashes():
    old = """
float:
  any:
    annoy:
      docker-tag: ann-benchmarks-annoy
      module: ann_benchmarks.algorithms.annoy
      constructor: Annoy
      base-args: ["@metric"]
      run-groups:
        trees:
          args: [[100, 200]]
          query-args: [[100, 400]]
  euclidean:
    flat-layout:
      disabled: true
      constructor: HnswLib
      base-args: ["@metric"]
      arg-groups: [{M: [8, 16]}]
      query-arg-groups: [[1, 2]]
"""
    found = expanded(old)
    assert [(each.name, list(each.arguments)) for each in found] == [
        ("annoy", ["euclidean", 100]),
        ("annoy", ["euclidean", 200]),
        ("flat-layout", ["euclidean", {"M": 8}]),
        ("flat-layout", ["euclidean", {"M": 16}]),
    ]
    assert [list(each.queries) for each in found] == [[[100], [400]]] * 2 + [
        [[1], [2]]
    ] * 2
    assert [each.disabled for each in found] == [False, False, True, True]


def test_the_metric_s_own_section_counts_beside_any():
    text = """
float:
  angular: [{name: angle, constructor: A, args: []}]
  euclidean: [{name: length, constructor: B, args: []}]
"""
    assert [each.name for each in expanded(text)] == ["length"]
    assert [each.name for each in expanded(text, ["cosine", "angular"])] == ["angle"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bit: {any: []}", "points of type 'float', it has them for .'bit'"),
        ("float: {angular: []}", "float: must have a section 'any' or 'euclidean'"),
        ("float: [1]", "float: must be a mapping, got"),
        ("float: {any: 3}", "float.any: must be a list or a mapping, got 3"),
        ("float: {any: [3]}", r"float.any\[0\]: must be a mapping, got 3"),
        (
            "float: {any: [{name: a, run_groups: {g: {args: 3}}}]}",
            "a: g: args: must be a list, got 3",
        ),
    ],
)
def test_malformed_files_are_explained(text, message):
    with pytest.raises(ConfigError, match=message):
        expanded(text)


# --- translation


def definition(constructor, *arguments, queries=(), module="", name="x"):
    return Definition(name, "g", constructor, module, False, arguments, queries)


def translated(*arguments, d=64, **parts):
    return [
        (each.library, each.kind, each.build, list(each.searches))
        for each in translate(definition(*arguments, **parts), d)
    ]


@pytest.mark.parametrize(
    ("arguments", "queries", "expected"),
    [
        (
            ("HnswLib", "euclidean", {"M": 12, "efConstruction": 500}),
            [[10], [20]],
            ("hnswlib", "HNSW", {"M": 12, "ef_construction": 500}, "ef_search"),
        ),
        (
            ("FaissHNSW", "euclidean", {"M": 12, "efConstruction": 500}),
            [{"ef": 10}, {"ef": 20}],  # as VIBE has them
            ("faiss", "HNSW", {"M": 12, "ef_construction": 500}, "ef_search"),
        ),
        (
            ("FaissIVF", "angular", 1024),
            [[10], [20]],
            ("faiss", "IVFFlat", {"nlist": 1024}, "nprobe"),
        ),
        (
            ("Annoy", "angular", 100),
            [[10], [20]],
            ("annoy", "Forest", {"n_trees": 100}, "search_k"),
        ),
        (
            ("PyNNDescent", "angular", {"n_neighbors": 20, "leaf_size": 24}),
            [[10], [20]],
            (
                "pynndescent",
                "NNDescent",
                {"n_neighbors": 20, "leaf_size": 24},
                "epsilon",
            ),
        ),
        (
            ("USearch", "angular", "f32", {"M": 8, "efConstruction": 100}),
            [[10], [20]],
            ("usearch", "HNSW", {"M": 8, "ef_construction": 100}, "ef_search"),
        ),
        (
            ("Voyager", "angular", {"M": 8, "efConstruction": 100}),
            [[10], [20]],
            ("voyager", "HNSW", {"M": 8, "ef_construction": 100}, "ef_search"),
        ),
        (
            ("SVSVamana", "normalized", {"graph_max_degree": 64, "window_size": 128}),
            [{"search_window_size": 10}, {"search_window_size": 20}],
            (
                "svs",
                "Vamana",
                {"graph_max_degree": 64, "window_size": 128},
                "window_size",
            ),
        ),
    ],
)
def test_wrappers_become_adapters(arguments, queries, expected):
    *index, searched = expected
    found = translated(*arguments, queries=queries)
    assert found == [(*index, [{searched: 10}, {searched: 20}])]


def test_fast_scan_without_a_second_look_is_an_index_of_its_own():
    queries = [[1, 0], [1, 10], [5, 0], [5, 10]]
    assert translated("FaissIVFPQfs", "angular", 512, queries=queries) == [
        (
            *("faiss", "IVFPQFastScan", {"nlist": 512}),
            [{"nprobe": 1, "k_factor": 10}, {"nprobe": 5, "k_factor": 10}],
        ),
        (
            *("faiss", "Factory", {"factory": "IVF512,PQ32x4fs"}),
            [{"nprobe": 1}, {"nprobe": 5}],
        ),
    ]
    with pytest.raises(TranslationError, match="give --dimension"):
        translated("FaissIVFPQfs", "angular", 512, queries=queries, d=None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Scann", "angular", 100), "no adapter stands for Scann"),
        (
            ("HNSW", "angular", 64, {}),
            "no adapter stands for HNSW",
        ),  # of another module
        (("HnswLib", "l2", {"M": 4, "depth": 3}), "unknown key 'depth'"),
        (("HnswLib", "l2", {"M": 1}), "M: .* greater than or equal to 2, got 1"),
        (("FaissIVF", "l2", 10, 20), "argument 3 has no name here, got 20"),
        (("USearch", "l2", "f16", {"M": 8}), "accuracy must be 'f32' here, got 'f16'"),
    ],
)
def test_what_has_no_counterpart_is_named(arguments, message):
    with pytest.raises(TranslationError, match=message):
        translated(*arguments)


def test_grids_are_found_again_and_only_where_they_are_whole():
    tables = [{"a": a, "b": b} for a in (3, 1) for b in (2, 5)]
    assert convert.grid(tables) == {"a": [3, 1], "b": [2, 5]}
    assert convert.grid(tables[:1]) == {"a": 3, "b": 2}
    assert convert.grid(tables[:3]) is None
    assert convert.grid([{"a": 1}, {"b": 1}]) is None
    assert convert.grid([{}]) == {}


# --- configs


@pytest.fixture(name="written")
def _written(tmp_path):
    def write(text, name="hnswlib/config.yml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_a_file_becomes_a_config_that_runs(written, tmp_path):
    path, out = written(HNSWLIB), tmp_path / "mine.toml"
    done = CliRunner().invoke(
        app, ["import", str(path), "--dataset", "glove-100-angular", "--out", str(out)]
    )
    assert (done.exit_code, done.output) == (0, "")
    assert (
        out.read_text().splitlines()[0] == "# From hnswlib/config.yml, by ann import."
    )
    assert tomllib.loads(out.read_text()) == {
        "name": "hnswlib",
        "k": 10,
        "dataset": [{"name": "glove-100-angular"}],
        "index": [
            {
                "library": "hnswlib",
                "kind": "HNSW",
                "build": {"M": [12, 24], "ef_construction": 500},
                "search": {"ef_search": [10, 20, 40]},
            }
        ],
    }
    planned = plan.make(config.load(out, config.Config))
    assert planned.n_points == 6
    labels = [build.label for build in planned.experiments[0].builds]
    assert labels == ["hnswlib M=12 efc=500", "hnswlib M=24 efc=500"]


def test_what_is_left_out_is_said_and_stands_in_the_file(written):
    more = """
  euclidean:
  - {name: scann, constructor: Scann, args: []}
  - {name: annoy, disabled: true, constructor: Annoy, args: [[5]]}
"""
    arguments = [
        "import",
        str(written(HNSWLIB + more)),
        "--dataset",
        "sift-128-euclidean",
    ]
    done = CliRunner().invoke(app, arguments)
    lines = [
        "scann: no adapter stands for Scann",
        "annoy: the file disables it",
    ]
    assert done.stderr.splitlines() == [f"left out: {line}" for line in lines]
    assert [f"# Left out: {line}" for line in lines] == done.stdout.splitlines()[1:3]
    tomllib.loads(done.stdout)
    done = CliRunner().invoke(app, [*arguments, "--disabled"])
    assert 'library = "annoy"' in done.stdout


def test_groups_that_are_searched_apart_stay_apart(written):
    text = HNSWLIB.replace("[[10, 20, 40]]", "[[50, 60]]", 1)
    made = convert.convert(written(text), convert.target("glove-100-angular"))
    assert [table["build"]["M"] for table in made.config["index"]] == [12, 24]
    assert made.config["index"][0]["search"] == {"ef_search": [50, 60]}


def test_groups_that_are_no_grid_together_are_grids_alone(written):
    text = HNSWLIB.replace("M: 12,", "M: [4, 8],").replace(
        "M: 24, efConstruction: 500", "M: [4, 16], efConstruction: 100"
    )
    made = convert.convert(written(text), convert.target("glove-100-angular"))
    assert [table["build"] for table in made.config["index"]] == [
        {"M": [4, 8], "ef_construction": 500},
        {"M": [4, 16], "ef_construction": 100},
    ]


def test_a_build_that_occurs_twice_gets_the_settings_of_both(written):
    text = HNSWLIB.replace("M: 24", "M: 12").replace("[[10, 20, 40]]", "[[40, 80]]", 1)
    made = convert.convert(written(text), convert.target("glove-100-angular"))
    (table,) = made.config["index"]
    assert table["search"] == {"ef_search": [40, 80, 10, 20]}


@pytest.mark.parametrize(
    ("name", "metric", "expected"),
    [
        ("glove-100-angular", None, ("angular", 100)),
        ("folder/sift-128-euclidean.hdf5", None, ("euclidean", 128)),
        ("yahoo-minilm-384-normalized", None, ("normalized", 384)),
        ("yi-128-ip", None, ("ip", 128)),
        ("lastfm-64-dot", None, ("angular", 65)),
        ("patches-192-euclidean", "cosine", ("cosine", 192)),
        ("synthetic-heavytail-64d-16i-1k", None, ("ip", 64)),
        ("mine.npy", "l2", ("euclidean", None)),
    ],
)
def test_a_dataset_s_name_tells_its_metric_and_width(name, metric, expected):
    found = convert.target(name, metric)
    assert (found.distance, found.d) == expected
    assert found.stated == (metric is not None)


def test_a_stated_metric_goes_into_the_config(written):
    made = convert.convert(
        written(HNSWLIB), convert.target("patches-192-euclidean", "angular")
    )
    assert made.config["dataset"] == [
        {"name": "patches-192-euclidean", "metric": "cosine"}
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "mine.npy"], "--metric must be given: 'mine.npy'"),
        (["--dataset", "x", "--metric", "hamming"], "--metric: metric must be one of"),
        (["--dataset", "glove-100-angula"], "--metric must be given"),
        (["--dataset", "foo-100-angular"], "did you mean 'glove-100-angular'"),
        (["--dataset", "glove-100-angular", "--k", "3"], "k: .*, got 3"),
        (
            ["--dataset", "glove-100-angular", "--point-type", "bit"],
            "points of type 'bit'",
        ),
    ],
)
def test_errors_of_the_command_say_what(written, arguments, message):
    done = CliRunner().invoke(app, ["import", str(written(HNSWLIB)), *arguments])
    assert done.exit_code == 2
    assert re.search(message, done.stderr)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "config.yml: while parsing"),
        ("- a", "config.yml: must be a mapping, got"),
        ("!!python/object/apply:os.getcwd []", "could not determine a constructor"),
        (
            "float: {any: [{name: s, constructor: Scann, args: []}]}",
            "nothing in it can be run here: s: no adapter stands for Scann",
        ),
    ],
)
def test_files_that_cannot_be_used_are_refused(written, text, message):
    with pytest.raises(ConfigError, match=message):
        convert.convert(written(text), convert.target("glove-100-angular"))


def test_our_own_file_there_comes_back_as_ours():
    path = Path(ours_there.__file__).with_name("config.yml")
    made = convert.convert(path, convert.target("glove-100-angular"))
    assert not made.left_out
    assert {table["library"] for table in made.config["index"]} == {"ann"}
    kinds = [table["kind"] for table in made.config["index"]]
    assert kinds.count("Flat") == 1
    codecs = [
        table["build"].get("codec")
        for table in made.config["index"]
        if table["kind"] == "IVF"
    ]
    assert {"kind": "PQ", "m": 50, "nbits": 4} in codecs


def test_a_file_tells_its_width_and_metric(tmp_path, monkeypatch):
    monkeypatch.setenv("ANN_DATA", str(tmp_path))
    with h5py.File(tmp_path / "mine.hdf5", "w") as file:
        file["train"] = np.zeros((300, 8), np.float32)
        file.attrs["distance"] = ["angular"]
    assert convert.target("mine") == convert.Target("mine", "angular", 8, False)
    assert convert.target("mine", "l2").distance == "euclidean"
    (tmp_path / "bad.npy").write_bytes(b"no numpy")
    with pytest.raises(ConfigError, match=r"--dataset: .*bad.npy: must be a readable"):
        convert.target("bad")
