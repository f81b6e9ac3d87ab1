import json

import pytest

import ann
from tests.ann.process import python

HEAVY = {"numba", "llvmlite", "sklearn", "scipy", "joblib"}
HEAVY |= {"matplotlib", "pandas", "experiments"}
MODULES = "import json, sys; {act}; print(json.dumps(list(sys.modules)))"


@pytest.mark.parametrize("act", ["import ann", "import ann; ann.similarity('l2', 1)"])
def test_import_is_light(act):
    loaded = {
        name.split(".")[0] for name in json.loads(python(MODULES.format(act=act)))
    }
    assert "ann" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_an_index_needs_no_scikit_learn():
    script = "import ann; ann.HNSW().add([[0.0]]).search([1.0])"
    loaded = {
        name.split(".")[0] for name in json.loads(python(MODULES.format(act=script)))
    }
    assert "numba" in loaded
    assert loaded.isdisjoint({"sklearn", "joblib", "matplotlib", "experiments"})


def test_import_loads_no_more_than_names():
    """What takes time is loaded when it is first used, numpy and ann's own modules."""
    loaded = json.loads(python(MODULES.format(act="import ann")))
    own = {name for name in loaded if name.split(".")[0] == "ann"}
    assert own == {"ann", "ann._version"}
    assert "numpy" not in loaded


def test_public_names():
    assert set(ann.__all__) <= set(dir(ann))
    for name in ann.__all__:
        value = getattr(ann, name)
        assert getattr(value, "__name__", name) == name
    with pytest.raises(AttributeError, match="module 'ann' has no attribute 'nothing'"):
        _ = ann.nothing
