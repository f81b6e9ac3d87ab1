"""Whether a choice by measuring keeps its promise: the study, on little."""

import json
import xml.etree.ElementTree as ET

import pytest
from typer.testing import CliRunner

from ann.tuning import candidates
from ann.tuning.candidates import EXACT, FAST, Candidate
from experiments.cli import app
from experiments.lessons import lesson, sets, tuning
from tests.ann import known_latencies

SETS = ["patches", "word counts", "popular items", "topics"]


def small(name):
    """Return a stand-in for a set: the topics, under its name."""

    def drawn(n, nq, seed):
        found = sets.topics(n, nq, seed)
        return sets.Set(name, found.X, found.Q, "topics")

    return drawn


@pytest.fixture(name="taught", scope="module")
def _taught(tmp_path_factory):
    """Return the directory of a small lesson, and what was printed."""
    out = tmp_path_factory.mktemp("lesson") / "tune"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sets, "SENTENCES", "not-there.hdf5")
        patch.setattr(sets, "patches", small("patches"))
        patch.setattr(sets, "word_counts", small("word counts"))
        patch.setattr(sets, "popular", small("popular items"))
        patch.setattr(candidates, "FAST", FAST[4:])
        known_latencies.replace(patch)
        patch.setattr(tuning, "in_turns", known_latencies.in_turns)
        patch.setattr(tuning, "REPETITIONS", 2)
        patch.setattr(tuning, "candidates", lambda: [EXACT, FAST[4]])
        for name, value in {"_ASKED": 200, "_POOL": 300, "_FRESH": 150}.items():
            patch.setattr(tuning, name, value)
        patch.setenv("COLUMNS", "160")
        arguments = ["lesson", "tune", "-n", "600", "--out", str(out)]
        done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return out, done.stdout


def test_each_set_has_its_choices_and_they_are_counted(taught):
    tables, _ = lesson.read(taught[0])
    promises, choices = tables[tuning.PROMISE], tables[tuning.CHOICES]
    assert [each.data for each in promises] == SETS
    for promise in promises:
        own = [each for each in choices if each.data == promise.data]
        assert [each.seed for each in own] == [0, 1]
        assert promise.met == sum(each.fresh >= 0.95 for each in own)
        assert promise.within == sum(each.ratio <= 1.3 for each in own)
        assert promise.worst == pytest.approx(max(each.ratio for each in own), 1e-4)
        assert promise.lowest == min(each.fresh for each in own)


def test_the_sweep_keeps_what_could_have_been_chosen(taught):
    tables, _ = lesson.read(taught[0])
    for data in SETS:
        own = [each for each in tables[tuning.SWEEP] if each.data == data]
        [best] = [each for each in own if each.best]
        assert best.recall >= 0.95
        assert {each.index for each in own} <= {"Flat", FAST[4].name}
        assert all(each.recall >= 0.9 for each in own)
        assert all(each.undisturbed_us > 0 for each in own)


def test_the_command_prints_a_line_a_set_and_draws(taught):
    out, printed = taught
    assert "promise.csv" in printed
    assert "choices.csv" not in printed
    assert "left out: sentences" in printed
    for data in SETS:
        assert data in printed
    drawn = {path.name for path in (out / "figures").iterdir()}
    assert drawn == {"promise.png", "promise.svg", "sweep.png", "sweep.svg"}
    told = ET.parse(out / "figures" / "promise.svg").getroot().find("{*}desc").text
    assert "of 8 choices meet their target" in told
    stamp = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    assert stamp["config"] == {"name": "tune", "n": 600, "seed": 0}


def test_the_sweep_knows_all_that_a_tuner_begins_with():
    known = set(tuning.candidates())
    assert {EXACT, *FAST} <= known
    for first in FAST:
        assert set(candidates.around(first)) <= known
    assert Candidate("HNSW", "SQ4", 4, 16) in known
