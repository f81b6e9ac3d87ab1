"""Fixed pools against margins: what the lesson's tables say, on a small set."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.lessons import adaptive, lesson, sets
from experiments.lessons.adaptive import (
    ALL,
    EPSILON,
    FIXED,
    FLAT,
    KNOWING,
    NARROW,
    TAPERED,
    Point,
    Tried,
)


@pytest.fixture(name="taught", scope="module")
def _taught(tmp_path_factory):
    """Return the directory of a small lesson, and what was printed."""
    out = tmp_path_factory.mktemp("lesson") / "adaptive"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sets, "SENTENCES", "not-there.hdf5")
        patch.setattr(adaptive, "EFS", (10, 14, 20, 40))
        patch.setattr(adaptive, "EPSILONS", (0.01, 0.05, 0.1, 0.2))
        patch.setenv("COLUMNS", "160")
        arguments = ["lesson", "adaptive", "-n", "1000", "--out", str(out)]
        done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return out, done.stdout


def curve(out, way):
    tables, _ = lesson.read(out)
    return [
        point
        for point in tables[adaptive.CURVES]
        if point.queries == ALL and point.way == way
    ]


def test_more_effort_finds_more(taught):
    for way in (FIXED, EPSILON, TAPERED):
        points = curve(taught[0], way)
        assert len(points) == 4
        for name in ("recall", "computations"):
            values = [getattr(point, name) for point in points]
            assert values == sorted(values)
            assert values[0] < values[-1]
        assert all(point.most >= point.computations for point in points)


def test_a_taper_takes_no_more_than_the_whole_margin(taught):
    whole, tapered = (curve(taught[0], way) for way in (EPSILON, TAPERED))
    pairs = list(zip(whole, tapered, strict=True))
    assert all(b.computations <= a.computations for a, b in pairs)
    assert pairs[-1][1].computations < 0.97 * pairs[-1][0].computations


def test_who_knows_does_best(taught):
    fixed, best = curve(taught[0], FIXED), curve(taught[0], KNOWING)
    most = max(point.recall for point in fixed)
    knowing = [point for point in best if point.recall >= most - 1e-9]
    assert knowing
    assert min(point.computations for point in knowing) < fixed[-1].computations


def test_the_best_pool_is_chosen_by_query_and_by_price():
    fixed = [
        Tried(10, np.array([100.0, 100.0]), np.array([1.0, 0.2])),
        Tried(20, np.array([200.0, 200.0]), np.array([1.0, 0.9])),
    ]
    tried = list(adaptive.knowing(fixed))
    cheap, dear = tried[0], tried[-1]
    assert cheap.recalls.tolist() == [1.0, 0.9]
    assert cheap.computations.tolist() == [100.0, 200.0]
    assert dear.computations.tolist() == [100.0, 100.0]


def test_two_ways_are_read_at_the_same_recall_between_settings():
    def point(recall, computations, low):
        return adaptive.Point(
            "x", 9, ALL, 9, FIXED, 1.0, recall, low, computations, computations
        )

    points = [point(0.98, 300.0, 0.0), point(0.9, 100.0, 0.04)]
    assert adaptive.read_at(points, 0.94) == pytest.approx((200.0, 0.02))
    assert np.isnan(adaptive.read_at(points, 0.99)).all()
    assert np.isnan(adaptive.read_at(points, 0.9)).all()


def test_savings_are_shares_of_what_a_pool_takes(taught):
    tables, _ = lesson.read(taught[0])
    lines = [x for x in tables[adaptive.SAVINGS] if np.isfinite(x.saved)]
    assert lines
    for line in lines:
        expected = 1 - line.computations / line.fixed_computations
        assert line.saved == pytest.approx(expected, abs=1e-3)


def test_one_setting_for_all_is_paid_for_by_all():
    def point(queries, way, setting, recall, computations):
        return Point("x", 9, queries, 9, way, setting, recall, 0.1, computations, 0.0)

    points = [
        *(point(ALL, FIXED, 10, 0.97, 100.0), point(ALL, FIXED, 20, 0.99, 300.0)),
        *(point(NARROW, FIXED, 10, 0.88, 150.0), point(NARROW, FIXED, 20, 0.92, 350.0)),
    ]
    for way in (EPSILON, TAPERED, KNOWING):
        points += [point(ALL, way, 0.1, 0.97, 90.0), point(ALL, way, 0.2, 0.98, 110.0)]
        points += [
            *(
                point(NARROW, way, 0.1, 0.88, 140.0),
                point(NARROW, way, 0.2, 0.92, 360.0),
            )
        ]
    points += [replace(p, queries=FLAT) for p in points if p.queries == NARROW]
    found = {
        line.asked: line
        for line in adaptive._savings(points)
        if (line.queries, line.way, line.recall) == (NARROW, TAPERED, 0.9)
    }
    assert set(found) == {NARROW, ALL}
    assert found[NARROW].saved == pytest.approx(1 - 250 / 250)
    assert found[ALL].fixed_computations == pytest.approx(200)
    assert found[ALL].computations == pytest.approx(100)
    assert found[ALL].saved == pytest.approx(0.5)


def test_shares_of_queries_end_at_all_of_them(taught):
    tables, _ = lesson.read(taught[0])
    ends = [line for line in tables[adaptive.SPREAD] if line.found == adaptive.K]
    assert len(ends) == 9
    assert all(line.share == 1 for line in ends)


def test_targets_are_asked_of_queries_that_did_not_calibrate(taught):
    tables, _ = lesson.read(taught[0])
    promised = [
        line
        for line in tables[adaptive.TARGETS]
        if line.way == adaptive.PROMISED and line.queries == ALL
    ]
    assert [line.target for line in promised] == list(adaptive.LEVELS)
    for line in promised:  # of vectors so easy that the least effort finds more
        assert line.recall > line.target - 0.03


def test_the_command_says_what_was_left_out_and_draws(taught):
    out, printed = taught
    assert "left out: sentences, as there is no not-there.hdf5" in printed
    stamp = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    assert stamp["status"] == "finished"
    drawn = {path.name for path in (out / "figures").iterdir()}
    assert drawn >= {"patches-curves.png", "patches-tails.svg", "patches-queries.png"}
