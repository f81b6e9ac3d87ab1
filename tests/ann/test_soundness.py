"""What an audit finds, and what a repair mends."""

import numpy as np
import pytest

from ann import nodes
from ann.soundness import audit
from tests.ann import reference
from tests.ann.data import gaussian
from tests.ann.reference import METRICS
from tests.ann.upkeep import Churned

X = gaussian(500, 8)
REMOVED = [3, 77, 205]


@pytest.fixture(scope="module")
def built():
    return Churned(X, M=4).remove(REMOVED).repair()


@pytest.fixture
def churned(built):
    """A graph without faults, some of whose vectors were removed."""
    return built.copy()


def degree_of(row):
    return int((row >= 0).sum())


def low(churned):
    """Return a vector that lives on layer 0 alone, and has room in its row."""
    degrees = (churned.graph.base[:500] >= 0).sum(axis=1)
    fits = churned.alive & (churned.levels == 0) & (degrees > 2) & (degrees < 7)
    return int(np.flatnonzero(fits)[0])


def high(churned):
    fits = churned.alive & (churned.levels > 0)
    fits[churned.graph.entry_point] = False
    return int(np.flatnonzero(fits)[0])


def upper_row_of(churned, node):
    return churned.graph.upper[churned.graph.upper_row[node]]


def to_link(value):
    """Put a link behind a vector's others."""

    def plant(churned):
        node = low(churned)
        row = churned.graph.base[node]
        row[degree_of(row)] = value(churned, node)
        return 0, 1, node

    return plant


def to_lead_up(churned):
    node = high(churned)
    upper_row_of(churned, node)[0] = low(churned)
    return 1, 1, node


def a_gap(churned):
    node = low(churned)
    churned.graph.base[node][0] = -1
    return 0, degree_of(churned.graph.base[node]), node


def rows_beyond(churned):
    node = high(churned)
    churned.graph.upper_row[node] = int(churned.levels.sum())
    return 1, 1, node


def negative_rows(churned):
    node = high(churned)
    churned.graph.upper_row[node] = -7
    return 1, 1, node


def shared_rows(churned):
    one, *_, other = np.flatnonzero(churned.alive & (churned.levels == 1))
    churned.graph.upper_row[other] = churned.graph.upper_row[one]
    return 1, 1, other


def entry_point(value):
    def plant(churned):
        entry = value(churned)
        churned._put(churned.graph._replace(entry_point=entry))
        return int(churned.levels.max()), 1, entry

    return plant


def top(churned):
    churned._put(churned.graph._replace(top=churned.graph.top + 1))
    return churned.graph.top - 1, 1, churned.graph.entry_point


FAULTS = {
    "too large": ("links to no vector", to_link(lambda c, node: 500)),
    "huge": ("links to no vector", to_link(lambda c, node: 2**31 - 1)),
    "negative": ("links to no vector", to_link(lambda c, node: -2)),
    "self": ("links of a vector to itself", to_link(lambda c, node: node)),
    "removed": ("links to a removed vector", to_link(lambda c, node: 77)),
    "twice": (
        "links that a row has twice",
        to_link(lambda c, node: c.graph.base[node, 1]),
    ),
    "lower": ("links to a vector that is not on the layer", to_lead_up),
    "gap": ("links behind the end of a row", a_gap),
    "rows beyond": ("vectors without rows of their own on upper layers", rows_beyond),
    "rows before": ("vectors without rows of their own on upper layers", negative_rows),
    "shared rows": ("vectors without rows of their own on upper layers", shared_rows),
    "no entry": ("entry point not on the top layer", entry_point(lambda c: -1)),
    "far entry": ("entry point not on the top layer", entry_point(lambda c: 2**40)),
    "low entry": ("entry point not on the top layer", entry_point(low)),
    "dead entry": ("entry point not on the top layer", entry_point(lambda c: 77)),
    "wrong top": ("entry point not on the top layer", top),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_mended(name, churned):
    kind, plant = FAULTS[name]
    assert churned.audit().clean
    expected = churned.true(X)
    layer, count, first = plant(churned)
    report = churned.audit()
    assert (kind, layer, count, first) in report.faults
    assert not report.clean
    if layer == 0:
        assert len(report.faults) == 1
    churned.repair()
    assert churned.audit().clean
    found = churned.search(X, ef_search=100)
    assert reference.recall(found, expected) > 0.98


def test_a_vector_that_no_link_leads_to_is_found_and_linked(churned):
    base, node = churned.graph.base, low(churned)
    for row in base[:500]:
        if node in row:
            kept = row[(row >= 0) & (row != node)]
            row[:] = -1
            row[: len(kept)] = kept
    report = churned.audit()
    assert report.faults == ()
    assert not report.clean
    health = report.layers[0]
    assert (health.unreachable, health.first_unreachable) == (1, node)
    assert health.unlinked >= 1
    assert report.unreachable == 1
    assert churned.repair().audit().clean
    assert churned.search(X[node], k=1)[0] == node


def test_an_audit_measures_degrees(churned):
    report, base = churned.audit(), churned.graph.base[:500][churned.alive]
    degrees = (base >= 0).sum(axis=1)
    health = report.layers[0]
    assert (report.alive, report.removed, health.nodes) == (497, 3, 497)
    assert health.least_degree == degrees.min()
    assert health.most_degree == degrees.max()
    assert health.mean_degree == pytest.approx(degrees.mean())
    linked = np.unique(base[base >= 0])
    assert health.unlinked == 497 - len(linked)
    assert len(report.layers) == churned.graph.top + 1
    assert {layer.first_unreachable for layer in report.layers} == {-1}
    for layer in report.layers[1:]:
        members = churned.alive & (churned.levels >= layer.layer)
        assert layer.nodes == members.sum()


def test_a_repair_of_a_sound_graph_changes_nothing(churned):
    before = [a.copy() for a in churned.rows]
    churned.repair()
    for a, b in zip(churned.rows, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", range(6))
def test_any_content_is_safe_to_audit_and_to_repair(seed, churned):
    rng = np.random.default_rng(seed)
    graph, wide = churned.graph, seed % 2
    reach = (-(2**31), 2**31) if wide else (-3, 510)
    for links in (graph.base, graph.upper, graph.upper_row):
        links[:] = rng.integers(*reach, size=links.shape)
    churned.alive[:] = rng.random(500) < 0.8
    if seed > 3:
        churned.levels[:] = rng.integers(256, size=500)
    entry, top = (int(value) for value in rng.integers(*reach, size=2))
    churned._put(graph._replace(entry_point=entry, top=top))
    report = churned.audit()
    assert sum(fault.times for fault in report.faults) > 400
    churned.repair()
    report = churned.audit()
    assert report.clean, report
    if wide:  # then links are chosen anew, and else all the random ones are in order
        found = churned.search(X, ef_search=100)
        assert reference.recall(found, churned.true(X)) > 0.9
    churned.add(X[:50])
    assert churned.audit().faults == ()


@pytest.mark.parametrize("metric", METRICS)
def test_a_repair_brings_all_into_reach(metric):
    rng = np.random.default_rng(1)
    V = X * np.exp(rng.standard_normal((500, 1), dtype=np.float32))
    churned = Churned(V, metric, M=4)
    lost = churned.audit().unreachable
    assert lost > 50 or metric != "ip"
    assert churned.repair().audit().clean
    np.testing.assert_array_equal(churned.in_reach(), np.arange(500))


def test_an_index_without_vectors_is_clean():
    emptied = Churned(X).remove(np.arange(500))
    nobody = np.empty(0, np.uint8), np.empty(0, bool)
    for report in (audit(nodes.none(16).graph, *nobody), emptied.audit()):
        assert report.clean
        assert (report.alive, report.layers, report.unreachable) == (0, (), 0)
    assert emptied.repair().audit().clean


def test_lengths_are_checked(churned):
    rule = (
        r"alive must have n=500 values, base and upper_row n rows or more, got 499, 5"
    )
    with pytest.raises(ValueError, match=rule):
        audit(churned.graph, churned.levels, churned.alive[:499])
    short = churned.graph._replace(upper_row=churned.graph.upper_row[:7])
    with pytest.raises(ValueError, match=r"500, 500 and 7"):
        audit(short, churned.levels, churned.alive)
