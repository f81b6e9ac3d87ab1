import pytest

from experiments import config, indexes, plan
from experiments.interop import documents
from experiments.strict import ConfigError

HEAD = """
name = "try"
[[dataset]]
name = "digits-64-euclidean"
n = 500
nq = 50
"""


def read(tmp_path, text, head=HEAD):
    path = tmp_path / "c.toml"
    path.write_text(head + text)
    return plan.make(config.load(path, config.Config))


def only(plan):
    (experiment,) = plan.experiments
    return experiment.builds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("roundz = 3", r"config: unknown key 'roundz', did you mean 'rounds'"),
        ("rounds = 0", r"rounds: input should be greater than or equal to 1, got 0"),
        ("rounds = '3'", r"rounds: input should be a valid integer, got '3'"),
        ("k = 5", "k: input should be greater than or equal to 10, got 5"),
        ("rounds = ", "c.toml: Invalid value"),
        ("uses = ['rag', 'games']", r"uses: must be of rag, .*, got 'games'"),
        ("[[dataset]]\nnam = 'x'", r"dataset\[0\]: unknown key 'nam', .*'name'"),
        ("[[dataset]]\nname = 'x'\nn = 1.5", r"dataset\[0\].n: .* integer, got 1.5"),
        (
            "[[dataset]]\nname = 'x'\nmetric = 'l3'",
            r"dataset\[0\].metric: metric must be one of l2, .*, got 'l3'",
        ),
    ],
)
def test_errors_in_the_file_say_where_and_what(tmp_path, text, says):
    with pytest.raises(ConfigError, match=says):
        read(tmp_path, text, head="name = 'try'\n")


ACCENTED = HEAD.replace("\n", "\r\n") + "[[index]]\nkind = 'Flat'\nlabel = 'é 日'\n"


@pytest.mark.parametrize(
    "name", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_a_byte_order_mark_says_how_a_config_is_read(tmp_path, name):
    mark = "\ufeff" * (name in ("utf-16-le", "utf-16-be"))
    (tmp_path / "c.toml").write_bytes((mark + ACCENTED).encode(name))
    loaded = config.load(tmp_path / "c.toml", config.Config)
    assert [entry.label for entry in loaded.index] == ["é 日"]
    (tmp_path / "c.yml").write_bytes(f"{mark}label: é\r\n".encode(name))
    assert documents.read(tmp_path / "c.yml") == {"label": "é"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            ACCENTED.replace(" 日", "").encode("latin-1"),
            "byte 0xe9 in line 9: save it as",
        ),
        (ACCENTED.encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (b"\xff\xfea", "utf-16, got the byte 0x61 in line 1"),
    ],
)
def test_another_encoding_is_named(tmp_path, content, says):
    (tmp_path / "c.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=f"c.toml: must be text in .*{says}"):
        config.load(tmp_path / "c.toml", config.Config)
    with pytest.raises(ConfigError, match=f"c.toml: must be text in .*{says}"):
        documents.read(tmp_path / "c.toml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind = 'HSNW'", r"index\[0\].kind: unknown kind 'HSNW', .*'HNSW'\?"),
        ("kind = 'hnsw'", r"index\[0\].kind: unknown kind 'hnsw', .*'HNSW'\?"),
        (
            "kind = 'HNSW'\nlibrary = 'hnswlb'",
            r"index\[0\].library: unknown library 'hnswlb', did you mean 'hnswlib'\?",
        ),
        (
            "kind = 'HNSW'\nbuild.ef_constructoin = 9",
            r"index\[0\].build: unknown key 'ef_constructoin', .*'ef_construction'\?",
        ),
        (
            "kind = 'IVF'\nsearch.nprob = [1, 2]",
            r"index\[0\].search: unknown key 'nprob', did you mean 'nprobe'\?",
        ),
        ("kind = 'IVF'\nsearch.nprobe = [1, 'all']", r"search.nprobe: .*, got 'all'"),
        ("kind = 'IVF'\nsearch.nprobe = 0", r"search.nprobe: .* 1, got 0"),
        ("kind = 'IVF'\nsearch.nprobe = []", "search: an empty list leaves nothing"),
        (
            "kind = 'IVF'\nsearch.nprobe = [4, 4]",
            "setting in .* must occur once, got 2",
        ),
        (
            "kind = 'Flat'\nbuild.codec = { kind = 'PQQ', m = 8 }",
            r"index\[0\].build.codec: unknown value 'PQQ', did you mean 'PQ'\?",
        ),
        ("kind = 'Flat'\nbuild.codec = { bits = 8 }", r"codec: unable to extract tag"),
        (
            "kind = 'Flat'\nbuild.codec = { kind = 'SQ', bitz = 8 }",
            r"index\[0\].build.codec.SQ: unknown key 'bitz', did you mean 'bits'\?",
        ),
        ("kind = 'Flat'\nbuild.codec = { kind = 'PQ' }", "codec.PQ.m: field required"),
        ("kind = 'Flat'\nbuild.codec = { kind = 'SQ', bits = 5 }", "4 or 8, got 5"),
        ("kind = 'Flat'\nbuild.refine = 2", "refine needs a codec or a transform"),
        (
            "kind = 'Flat'\nbuild.transform = { kind = 'PCB', d_out = 8 }",
            r"index\[0\].build.transform: unknown value 'PCB', did you mean 'PCA'\?",
        ),
        (
            "kind = 'Flat'\nbuild.transform = { kind = 'PCA' }",
            "PCA.d_out: field requir",
        ),
        (
            "kind = 'Flat'\nbuild.transform = { kind = 'Truncate', d_out = 0 }",
            "d_out: .* 1, got 0",
        ),
        ("kind = 'Flat'\ndatasets = ['sift']", r"index\[0\].datasets: 'sift' is none"),
    ],
)
def test_errors_in_an_index_say_where_and_what(tmp_path, text, says):
    with pytest.raises(ConfigError, match=says):
        read(tmp_path, f"[[index]]\n{text}")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("digits-64-euclid", "did you mean 'digits-64-euclidean'"),
        ("no/such/file.npy", r"dataset\[0\].name: .* no file"),
        ("synthetic-cube-2d-9i-1k", r"i must be in \[1, d=2\], got 9"),
    ],
)
def test_a_dataset_that_does_not_exist_is_found_before_the_run(tmp_path, name, says):
    head = f"name = 'try'\n[[dataset]]\nname = '{name}'\n"
    with pytest.raises(ConfigError, match=says):
        read(tmp_path, "[[index]]\nkind = 'Flat'", head)


def test_a_missing_file_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        config.load(tmp_path / "absent.toml", config.Config)


def test_lists_are_grids_in_build_and_in_search(tmp_path):
    builds = only(
        read(
            tmp_path,
            """
            [[index]]
            kind = "HNSW"
            build = { M = [8, 16], codec = { kind = "SQ", bits = [4, 8] }, refine = 2 }
            search.ef_search = [10, 20, 40]
            """,
        )
    )
    assert [(b.params.M, b.params.codec.bits) for b in builds] == [
        (8, 4),
        (8, 8),
        (16, 4),
        (16, 8),
    ]
    assert [[p.search.ef_search for p in b.points] for b in builds] == [
        [10, 20, 40]
    ] * 4
    assert len({p.row_id for b in builds for p in b.points}) == 12


def test_a_list_of_tables_is_a_choice_of_tables(tmp_path):
    text = '[[index]]\nkind = "IVF"\nbuild.codec = [{kind="SQ"}, {kind="PQ", m=[8,16]}]'
    assert [b.label for b in only(read(tmp_path, text))] == [
        "IVF SQ8",
        "IVF PQ8x8",
        "IVF PQ16x8",
    ]


def test_labels_say_what_the_config_says(tmp_path):
    text = """
    [[index]]
    kind = "Flat"
    [[index]]
    kind = "HNSW"
    build = { M = 12, ef_construction = 90, codec = { kind = "SQ" }, refine = 2 }
    [[index]]
    kind = "IVF"
    label = "mine"
    build = { nlist = [16, 32], codec = { kind = "PQ", m = 8, opq = true } }
    [[index]]
    kind = "HNSW"
    build = { transform = { kind = "PCA", d_out = [8, 96] }, refine = 2 }
    [[index]]
    kind = "Flat"
    build = { transform = { kind = "Truncate", d_out = 64 }, codec = { kind = "SQ" } }
    [[index]]
    library = "hnswlib"
    kind = "HNSW"
    [[index]]
    library = "faiss"
    kind = "Factory"
    build.factory = "IVF64,Flat"
    """
    assert [
        (b.label, b.adapter.spelling(b.params)) for b in only(read(tmp_path, text))
    ] == [
        ("Flat", "Flat"),
        ("HNSW M=12 efc=90 SQ8 +refine 2", "HNSW-SQ"),
        ("mine nlist=16", "IVF-PQ"),
        ("mine nlist=32", "IVF-PQ"),
        ("HNSW PCA8 +refine 2", "HNSW-PCA"),
        ("HNSW PCA96 +refine 2", "HNSW-PCA"),
        ("Flat Truncate64 SQ8", "Flat-Truncate-SQ"),
        ("hnswlib", "HNSW"),
        ("faiss Factory IVF64,Flat", "IVF64,Flat"),
    ]


def test_two_curves_cannot_share_a_label(tmp_path):
    entry = '[[index]]\nkind = "HNSW"\nlabel = "mine"\nbuild.M = '
    with pytest.raises(
        ConfigError, match="every label must occur once, got 2 times: mine"
    ):
        read(tmp_path, f"{entry}8\n{entry}9")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("compare = [['Flat', 'hnswlb']]", "compare.0.: unknown label 'hnswlb', did"),
        ("compare = [['Flat']]", "at least 2 items"),
        ("compare = [['Flat', 'hnswlib', 'x']]", "at most 2 items"),
    ],
)
def test_only_labels_of_the_config_are_compared(tmp_path, text, says):
    indexes = "[[index]]\nkind = 'Flat'\n[[index]]\nkind = 'HNSW'\n"
    indexes += "library = 'hnswlib'\n"
    with pytest.raises(ConfigError, match=says):
        read(tmp_path, indexes, head=text + HEAD)
    read(tmp_path, indexes, head="compare = [['Flat', 'hnswlib']]" + HEAD)


def test_one_setting_of_one_build_is_not_measured_twice(tmp_path):
    entry = '[[index]]\nkind = "HNSW"\nlabel = '
    with pytest.raises(
        ConfigError, match="every build and setting must occur once, got 2 times: ann"
    ):
        read(tmp_path, f"{entry}'a'\n{entry}'b'")


def test_one_build_can_have_two_curves(tmp_path):
    entry = '[[index]]\nkind = "HNSW"\n'
    text = f"{entry}label = 'a'\n{entry}label = 'b'\nsearch.epsilon = 0.1"
    a, b = only(read(tmp_path, text))
    assert (a.label, b.label) == ("a", "b")
    assert a.params == b.params
    assert a.build_id != b.build_id
    assert a.points[0].row_id != b.points[0].row_id


def test_an_index_can_be_kept_to_some_datasets(tmp_path):
    text = """
    [[dataset]]
    name = "synthetic-cube-4d-4i-1k"
    [[index]]
    kind = "Flat"
    [[index]]
    kind = "HNSW"
    datasets = ["digits-64-euclidean"]
    """
    first, second = read(tmp_path, text).experiments
    assert [b.label for b in first.builds] == ["Flat", "HNSW"]
    assert [b.label for b in second.builds] == ["Flat"]
    assert first.builds[0].build_id != second.builds[0].build_id


def test_identity_does_not_depend_on_spelling(tmp_path):
    one = '[[index]]\nkind = "HNSW"\nbuild = {M = 8, ef_construction = 200}'
    two = (
        '[[index]]\nkind = "HNSW"\nlabel = "x"\nbuild = {ef_construction = 200, M = 8}'
    )
    (a,), (b,) = only(read(tmp_path, one)), only(read(tmp_path, two))
    assert (a.build_id, a.points[0].row_id) == (b.build_id, b.points[0].row_id)


def test_metrics_have_the_aliases_of_the_library():
    entry = config.DatasetEntry(name="x", metric="angular")
    assert entry.metric == "cosine"


@pytest.mark.parametrize("kind", ["Flat", "IVF", "HNSW"])
def test_our_parameters_are_those_of_the_library(kind):
    import inspect

    import ann

    adapter, index = indexes.KINDS["ann", kind], getattr(ann, kind)
    build = dict(inspect.signature(index).parameters)
    search = dict(inspect.signature(index.search).parameters)
    for name in ("metric", "seed", "norm_check"):
        build.pop(name, None)
    of_the_call = "self", "Q", "k", "filter", "threads", "distance_computations"
    for name in (*of_the_call, "target_recall"):  # which needs a calibration
        search.pop(name, None)
    fields = {name: f.default for name, f in adapter.Build.model_fields.items()}
    assert fields == {name: p.default for name, p in build.items()}
    assert set(adapter.Search.model_fields) == set(search)


@pytest.mark.parametrize("name", ["PQ", "SQ", "RaBitQ", "PCA", "Truncate"])
def test_our_codecs_and_transforms_are_those_of_the_library(name):
    import inspect

    import ann
    from experiments import adapter

    model = getattr(adapter, name)
    signature = inspect.signature(getattr(ann, name)).parameters
    assert set(model.model_fields) - {"kind"} == set(signature) - {"seed"}
    least = {"PQ": {"m": 4}, "PCA": {"d_out": 1}, "Truncate": {"d_out": 1}}
    model.model_validate(least.get(name, {}))


@pytest.mark.parametrize(
    "name", ["quick", "patches", "speed-patches", "speed-synthetic"]
)
def test_the_configs_are_valid(name):
    from importlib.resources import files

    path = files("experiments.configs") / f"{name}.toml"
    assert plan.make(config.load(path, config.Config)).n_points > 10


@pytest.mark.parametrize(
    "name", ["wordnet", "speed-wordnet", "rabitq-wordnet", "churn"]
)
def test_configs_of_a_file_are_valid_where_it_is(name, tmp_path, monkeypatch):
    from importlib.resources import files

    (tmp_path / "wordnet-minilm-384-angular.hdf5").touch()
    monkeypatch.setenv("ANN_DATA", str(tmp_path))
    path = files("experiments.configs") / f"{name}.toml"
    assert plan.make(config.load(path, config.Config)).n_points > 10


def test_the_configs_of_the_studies_are_valid(tmp_path, monkeypatch):
    from importlib.resources import files

    from experiments.ablation import variants

    (tmp_path / "wordnet-minilm-384-angular.hdf5").touch()
    monkeypatch.setenv("ANN_DATA", str(tmp_path))
    configs = files("experiments.configs")
    ablation = config.load(configs / "ablation-wordnet.toml", config.Ablation)
    assert variants.make(ablation).n_points > 20
    bulk = config.load(configs / "bulk-wordnet.toml", config.Bulk)
    assert plan.require_datasets(bulk) == ["wordnet-minilm-384-angular.hdf5"]
