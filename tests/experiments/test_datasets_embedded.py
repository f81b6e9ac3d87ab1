"""The sets that come with scikit-learn."""

import numpy as np
import pytest

from experiments import datasets
from experiments.datasets import embedded


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_distinct_patches_of_a_small_image_are_the_windows():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 2, (10, 11, 3), dtype=np.uint8)
    image[:, 5:] = 0  # makes windows that repeat
    windows = {
        image[y : y + 8, x : x + 8].tobytes() for y in range(3) for x in range(4)
    }
    patches = embedded.distinct_patches([image, image])
    assert len(patches) == len(windows)
    assert {patch.tobytes() for patch in patches} == windows


def test_repeated_patches_are_kept_once():
    flat = np.full((9, 20, 3), 7, dtype=np.uint8)
    assert np.array_equal(embedded.distinct_patches([flat]), np.full((1, 192), 7))


def test_patches(cache):
    found = datasets.load(embedded.PATCHES, n=2000, nq=50, truth_k=10, cache=cache)
    assert (found.metric, found.train.shape) == ("l2", (2000, 192))
    assert (found.test.shape, found.neighbors.shape) == ((50, 192), (50, 10))
    values = np.unique(found.train)
    assert values.min() >= 0
    assert values.max() <= 255
    assert np.array_equal(values, np.rint(values))
    every = np.concatenate([found.train, found.test])
    assert len(np.unique(every, axis=0)) == 2050


def test_patches_are_about_530_000_and_cached(cache, monkeypatch):
    first = embedded.load(embedded.PATCHES, cache).train
    assert 520_000 < len(first) < 540_000
    monkeypatch.setattr(embedded, "photographs", lambda: pytest.fail("cut again"))
    assert np.array_equal(embedded.load(embedded.PATCHES, cache).train, first)


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "other"])
def test_a_damaged_cache_is_made_again(tmp_path, monkeypatch, damage):
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    monkeypatch.setattr(embedded, "photographs", lambda: [image])
    whole = embedded.load(embedded.PATCHES, tmp_path).train
    (path,) = tmp_path.rglob("*.npy")
    if damage == "other":
        np.save(path, whole[:, 1:])
    else:
        cut = path.read_bytes()[:-7]
        path.write_bytes({"empty": b"", "cut": cut, "text": b"not npy"}[damage])
    assert np.array_equal(embedded.load(embedded.PATCHES, tmp_path).train, whole)
    assert len(list(path.parent.iterdir())) == 1


def test_digits(cache):
    found = datasets.load(embedded.DIGITS, cache=cache)
    assert found.train.shape == (1618, 64)
    assert found.test.shape == (179, 64)
    assert found.neighbors.shape == (179, 100)
    assert found.train.max() == 16
