"""Fewer columns: what is compared, and that it says what it has measured."""

import json

import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.lessons import lesson, narrowing, sets
from experiments.lessons.narrowing import PCA, REFINE, TRUNCATE, WHOLE


@pytest.fixture(name="taught", scope="module")
def _taught(tmp_path_factory):
    """Return the directory of a small lesson without the file, and its output."""
    out = tmp_path_factory.mktemp("lesson") / "reduce"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sets, "SENTENCES", "not-there.hdf5")
        patch.setattr(narrowing, "_SPARE", (64, 20))
        patch.setattr(narrowing, "_ASKED", 50)
        patch.setattr(narrowing, "EFFORTS", (10, 80))
        patch.setattr(narrowing, "ROUNDS", 2)
        patch.setenv("COLUMNS", "120")
        arguments = ["lesson", "reduce", "-n", "800", "--out", str(out)]
        done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return out, done.stdout


def graphs(out, ef=80):
    tables, _ = lesson.read(out)
    lines = [line for line in tables[narrowing.GRAPHS] if line.ef_search == ef]
    return {(x.transform, x.width, x.codec, x.refine): x for x in lines}


def test_components_keep_more_than_the_first_columns(taught):
    held = graphs(taught[0])
    for width in (32, 16):
        for refine in (0, REFINE):
            best, cut = (held[kind, width, "", refine] for kind in (PCA, TRUNCATE))
            assert best.recall > cut.recall
    tables, _ = lesson.read(taught[0])
    shares = {(x.transform, x.width): x.share for x in tables[narrowing.KEPT]}
    assert shares[PCA, 32] > 0.9 > 0.7 > shares[TRUNCATE, 32] > 0.3
    assert shares[PCA, 32] > shares[PCA, 16] > shares[TRUNCATE, 16]


def test_a_second_look_finds_more_and_takes_more_memory(taught):
    held = graphs(taught[0])
    for (transform, width, codec, refine), line in held.items():
        if refine and (transform, width, codec, 0) in held:
            without = held[transform, width, codec, 0]
            assert line.recall >= without.recall
            assert line.bytes - without.bytes == pytest.approx(4 * 64, abs=1)
    assert held[WHOLE, 64, "", 0].recall > 0.95
    narrow = held[PCA, 16, "", 0].bytes - held[PCA, 32, "", 0].bytes
    assert narrow == pytest.approx(-4 * 16 - 4 * 64 * 16 / 800, abs=1)


def test_a_graph_finds_about_as_much_as_there_is(taught):
    for ef in (10, 80):
        for line in graphs(taught[0], ef).values():
            assert line.recall_low <= line.recall <= line.recall_high
            assert line.median_us_low <= line.median_us <= line.median_us_high
            assert line.recall <= line.ceiling + 0.03
            if ef == 80:
                assert line.recall >= line.ceiling - 0.03


def test_the_command_says_what_stands_in_and_draws(taught):
    out, printed = taught
    assert "synthetic clusters of 20 dimensions in 64 columns stand in" in printed
    stamp = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    assert stamp["status"] == "finished"
    assert [each["name"] for each in stamp["datasets"]] == ["clusters"]
    assert [each.split(",")[0] for each in stamp["left_out"]] == ["sentences"]
    drawn = {path.name for path in (out / "figures").iterdir()}
    assert drawn == {"narrowing.png", "narrowing.svg"}
