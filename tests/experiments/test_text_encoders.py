import importlib.util
import sys

import pytest

from experiments.text import encoders


@pytest.fixture(name="package")
def _package(tmp_path, monkeypatch):
    """A package that carries a model, and fails where it is imported."""
    home = tmp_path / "a_model_of_mine"
    (home / "model").mkdir(parents=True)
    (home / "__init__.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return home


def test_a_model_is_a_folder_or_within_a_package(package):
    with pytest.raises(FileNotFoundError, match="got 'a-model-of-mine'"):
        encoders.locate("a-model-of-mine")
    (package / "model" / "modules.json").write_text("[]")
    assert encoders.locate("a-model-of-mine") == package / "model"
    assert encoders.locate(str(package / "model")) == package / "model"
    assert "a_model_of_mine" not in sys.modules


@pytest.mark.parametrize("name", ["", "no-such-package", "../x", "a.b", "json"])
def test_what_is_no_model_is_refused_with_what_would_be(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"pip install {encoders.SMALL}"):
        encoders.load(name)


def test_without_the_library_the_error_says_how_to_get_it(package, monkeypatch):
    (package / "model" / "modules.json").write_text("[]")
    find = importlib.util.find_spec

    def lacking(name, *rest):
        return None if name == "sentence_transformers" else find(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", lacking)
    with pytest.raises(ModuleNotFoundError, match="pip install 'sentence-transformers"):
        encoders.load("a-model-of-mine")
