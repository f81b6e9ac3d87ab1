"""A small model that is real: skipped where it or its library is not installed."""

import importlib.util
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments.text import asking, corpus, embedding, encoders, passages, stdlib

needed = ("sentence_transformers", encoders.SMALL.replace("-", "_"))
missing = [name for name in needed if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}"),
    pytest.mark.filterwarnings("ignore"),  # those of the libraries that load it
]

# Both sets were written, with the modules that are right, before the model was asked.
TEN = {
    "squeeze a huge blob so that it takes less room": "zlib gzip bz2 lzma",
    "roll dice": "random",
    "on which weekday does Christmas fall": "calendar datetime",
    "average and median of exam marks": "statistics",
    "why is my software so sluggish": "cProfile profile pstats timeit",
    "spot what changed from one draft of an essay to another": "difflib",
    "let somebody sign in without echoing the passphrase on screen": "getpass",
    "translate the menus of my app into German and French": "gettext",
    "turn a shade of red into hue and brightness": "colorsys",
    "scratch space that vanishes afterwards": "tempfile",
}
TWENTY = {
    "draw pictures by steering a pen, fun for children": "turtle",
    "freeze variables to disk and thaw them another day": "pickle shelve marshal",
    "do a job every Monday at noon": "sched",
    "spreadsheet rows with commas": "csv",
    "download a homepage": "urllib.request",
    "deliver a letter to somebody's inbox": "smtplib",
    "exact thirds and sevenths without rounding": "fractions",
    "pause at a mistake and step through": "pdb bdb",
    "invent a PIN that nobody can guess": "secrets",
    "tell whether a picture is JPEG or PNG": "imghdr mimetypes",
    "a tag that never collides anywhere": "uuid",
    "do several chores simultaneously": "concurrent.futures concurrent.futures.thread "
    "threading asyncio.threads asyncio.staggered",
    "fit a paragraph into narrow columns": "textwrap",
    "which alphabet does a letter belong to": "unicodedata",
    "sine and logarithm": "math cmath",
    "how many hours have gone by": "time datetime",
    "handle urgent chores before the rest": "heapq queue",
    "prove automatically that my app behaves as promised": "unittest doctest "
    "unittest.case",
    "bundle a folder into one parcel": "tarfile zipfile shutil",
    "duplicate a nested structure so that the twin stays independent": "copy",
}


@pytest.fixture(name="encoder", scope="module")
def _encoder():
    return encoders.load(encoders.SMALL)


@pytest.fixture(name="library", scope="module")
def _library(encoder, tmp_path_factory):
    """The summaries of the standard library of the Python that runs this."""
    home = tmp_path_factory.mktemp("stdlib")
    stdlib.write(stdlib.gather(), home / "a.txt")
    found = passages.read(home / "a.txt", labels=True)
    made = embedding.embed(found, encoder, home / "a.parquet", cache=home)
    assert (made.d, made.cut) == (384, 0)
    return corpus.read(home / "a.parquet")


def answered(library, encoder, questions):
    """Return how many have a right module among the first five."""
    count = 0
    for question, right in questions.items():
        found = asking.ask(library, encoder, question, 5)
        names = {library.passages[row].label for row, _ in found}
        count += bool(names & set(right.split()))
    return count


def test_ten_questions_are_answered_by_meaning_and_none_by_words(library, encoder):
    assert answered(library, encoder, TEN) >= 9
    assert not any(asking.by_words(library, question, 5) for question in TEN)


def test_of_twenty_more_most_are_answered(library, encoder):
    assert answered(library, encoder, TWENTY) >= 12  # 13 with Python 3.11 to 3.13


@pytest.fixture(name="copy")
def _copy(tmp_path):
    """A folder of one's own with the model in it."""
    source = encoders.locate(encoders.SMALL)
    return Path(shutil.copytree(source, tmp_path / "copy"))


def test_a_folder_of_the_model_gives_the_same_vectors(encoder, library, copy):
    same = encoders.load(str(copy))
    asking.check(library, same)
    assert same.fingerprint == encoder.fingerprint
    with (copy / "modules.json").open("a") as file:
        file.write("\n")
    assert encoders.load(str(copy)).fingerprint != encoder.fingerprint


def test_a_model_that_pools_in_another_way_is_refused(library, copy):
    pooling = copy / "1_Pooling" / "config.json"
    about = json.loads(pooling.read_text())
    about |= {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    pooling.write_text(json.dumps(about))
    with pytest.raises(ValueError, match="must give the passage of line"):
        asking.ask(library, encoders.load(str(copy)), "roll dice", 5)


def test_a_damaged_model_and_one_with_code_of_its_own_are_refused(copy):
    modules = copy / "modules.json"
    sound = modules.read_text()
    modules.write_text(sound.replace("sentence_transformers.models.Norm", "evil.Norm"))
    (copy / "evil.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(ValueError, match=r"evil\.Normalize"):
        encoders.load(str(copy))
    modules.write_text(sound)
    os.truncate(copy / "model.safetensors", 1_000_000)
    with pytest.raises(ValueError, match="a model that sentence-transformers opens"):
        encoders.load(str(copy))


def test_texts_that_are_longer_than_the_model_reads_are_counted(encoder):
    long = "word " * 300
    assert encoder.cut(["short", long, "word " * 250]) == 1
    beyond = encoder.encode([long, long + "and what nobody reads"], "passage")
    np.testing.assert_allclose(beyond[0], beyond[1], atol=1e-5)
