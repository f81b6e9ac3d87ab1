import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.text import corpus, embedding
from experiments.text.passages import Passage
from tests.experiments.fakes_text import Hashing

TEXTS = ["red apples", "green pears", "blue skies", "grey seas", "old gold"]
PASSAGES = [Passage(i, "", text) for i, text in enumerate(TEXTS, 1)]


@pytest.fixture(name="embed")
def _embed(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "PIECE", 2)

    def embed(encoder, passages=PASSAGES, out="a.parquet", **options):
        cache = tmp_path / "cache"
        return embedding.embed(
            passages, encoder, tmp_path / out, cache=cache, **options
        )

    return embed


def pieces(tmp_path):
    return sorted((tmp_path / "cache" / "embeddings").glob("*"))


def test_all_passages_get_their_vectors_in_order(embed, tmp_path):
    encoder, told = Hashing(), []
    long = Passage(9, "", "word " * 30)
    made = embed(encoder, [*PASSAGES, long], done=told.append)
    assert made == embedding.Embedded(6, 64, 0, 1)
    assert told == [2, 2, 2]
    assert [role for role, _ in encoder.encoded] == ["passage"] * 3
    read = corpus.read(tmp_path / "a.parquet")
    assert read.passages == [*PASSAGES, long]
    expected = Hashing().encode([*TEXTS, long.text], "passage")
    np.testing.assert_array_equal(read.vectors, expected)
    assert pieces(tmp_path) == []


def test_an_interrupted_run_goes_on_with_what_is_missing(embed, tmp_path):
    class Stopped(Hashing):
        def encode(self, texts, role):
            if len(self.encoded) == 2:
                raise KeyboardInterrupt
            return super().encode(texts, role)

    embed(Hashing(), out="whole.parquet")
    with pytest.raises(KeyboardInterrupt):
        embed(Stopped())
    assert not (tmp_path / "a.parquet").exists()
    assert len(pieces(tmp_path)) == 2
    encoder = Hashing()
    assert embed(encoder).found == 4
    assert encoder.encoded == [("passage", ["old gold"])]
    whole = (tmp_path / "whole.parquet").read_bytes()
    assert (tmp_path / "a.parquet").read_bytes() == whole


@pytest.fixture(name="left")
def _left(embed, tmp_path):
    """The pieces of a run that ended when all were made."""
    with pytest.raises(KeyError):
        embed(Hashing(), done=lambda count: {2: None}[count])
    assert len(pieces(tmp_path)) == 3
    return pieces(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", None])
def test_damaged_pieces_are_made_again(embed, left, damage):
    for piece in left:
        if damage is None:
            np.save(piece, np.load(piece) * 2)
        else:
            piece.write_bytes(damage)
    assert embed(Hashing()).found == 0


def test_pieces_of_other_models_and_other_texts_are_not_used(embed, left):
    assert embed(Hashing(seed=1)).found == 0
    assert embed(Hashing(), PASSAGES[1:]).found == 0
    assert embed(Hashing(), [*PASSAGES[:4], Passage(7, "", "ink")]).found == 4


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (Hashing(scale=40), "norms must be within 0.001 of 1, got 40 in row 0"),
        (Hashing(scale=np.nan), "got nan in row 0"),
        (Hashing(scale=np.float64(1)), r"\(2, d\) float32, got \(2, 64\) float64"),
    ],
)
def test_what_are_not_unit_vectors_is_refused(embed, tmp_path, encoder, message):
    with pytest.raises(ValueError, match=message):
        embed(encoder)
    assert not (tmp_path / "a.parquet").exists()


def test_a_command_that_is_killed_goes_on(tmp_path):
    (tmp_path / "fruit.txt").write_text("\n".join(TEXTS))

    def run(folder, **environment):
        home = Path(__file__).parents[2]
        paths = [str(home), os.environ.get("PYTHONPATH", "")]
        place = {"PYTHONPATH": os.pathsep.join(paths), "ANN_CACHE": str(folder)}
        script = Path(__file__).with_name("fakes_text.py")
        out = folder / "fruit.parquet"
        return out, subprocess.run(
            [sys.executable, script, "datasets", "embed", "fruit.txt", "--out", out],
            cwd=tmp_path,
            env=os.environ | place | environment,
            capture_output=True,
            text=True,
        )

    whole, done = run(tmp_path / "whole")
    assert done.returncode == 0, done.stderr
    out, killed = run(tmp_path / "killed", FAKES_KILL="2")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not out.exists()
    out, done = run(tmp_path / "killed")
    assert "4 of them were embedded by an earlier start" in done.stdout
    assert out.read_bytes() == whole.read_bytes()
