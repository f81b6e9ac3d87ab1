"""Runbooks: read, refused, and what lives after each step."""

from pathlib import Path

import numpy as np
import pytest

from experiments import runbooks
from experiments.streaming.live import State, find_truth, states
from experiments.streaming.runbook import Step, read, sections
from experiments.strict import ConfigError

GOOD = """
mine:
  max_pts: 100
  1: {operation: insert, start: 0, end: 60}
  2: {operation: search}
  3: {operation: delete, start: 10, end: 30}
  4: {operation: replace, tags_start: 0, tags_end: 5, ids_start: 90, ids_end: 95}
  5:
    operation: "insert"
    start: 10
    end: 12
  6: {operation: search}
  gt_url: "https://example.org"
other: {max_pts: 5, 1: {operation: insert, start: 0, end: 5}}
"""


@pytest.fixture(name="book")
def _book(tmp_path):
    def write(text, section="mine"):
        path = tmp_path / "book.yaml"
        path.write_text(text)
        return read(path, section)

    return write


class Data:
    name, metric = "mine", "l2"
    train = np.random.default_rng(0).standard_normal((100, 4)).astype(np.float32)
    test = train[:7] + 1


def test_steps_in_their_order(book, tmp_path):
    found = book(GOOD)
    assert found.max_pts == 100
    assert found.steps[0] == Step(1, "insert", range(60), range(60))
    assert found.steps[1] == Step(2, "search")
    assert found.steps[2] == Step(3, "delete", range(10, 30))
    assert found.steps[3] == Step(4, "replace", range(5), range(90, 95))
    assert (found.tags, found.rows, found.vectors) == (60, 95, 67)
    assert sections(tmp_path / "book.yaml") == ["mine", "other"]
    assert len(book(GOOD, "other").steps) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yours: {}", "must have steps for 'mine', it has them for .'yours'"),
        ("mine: 3", "mine: must be a mapping, got 3"),
        ("mine: {max_pts: 0}", "max_pts must be at least 1, got 0"),
        ("mine: {max_pts: 9}", "steps must be numbered 1, 2, 3"),
        (
            "mine: {max_pts: 9, 1: {operation: search}, 3: {operation: search}}",
            r"steps must be numbered 1, 2, 3, …, got \[1, 3\]",
        ),
        (
            "mine: {max_pts: 9, 1: {operation: remove}}",
            r"mine: 1.operation: unknown value 'remove'",
        ),
        (
            "mine: {max_pts: 9, 1: {operation: search, begin: 1}}",
            "unknown key 'begin'",
        ),
        (
            "mine: {max_pts: 9, 1: {operation: insert, start: 1}}",
            r"1: insert must have start, end, got \['start'\]",
        ),
        (
            "mine: {max_pts: 9, 1: {operation: search, start: 1, end: 2}}",
            "1: search must have no bounds",
        ),
        (
            "mine: {max_pts: 9, 1: {operation: insert, start: 4, end: 4}}",
            "1: end must be above start=4, got 4",
        ),
        (
            "mine: {max_pts: 9, 1: {operation: insert, start: -1, end: 4}}",
            "greater than or equal to 0, got -1",
        ),
        (
            "mine: {max_pts: 9, 1: {operation: replace, tags_start: 0, tags_end: 4, "
            "ids_start: 0, ids_end: 3}}",
            "as many tags as there are ids, got 4 and 3",
        ),
    ],
)
def test_malformed_steps_are_explained(book, text, message):
    with pytest.raises(ConfigError, match=message):
        book(text)


def test_what_lives_after_each_step(book):
    found = list(states(book(GOOD)))
    assert [len(state.tags) for state in found] == [60, 60, 40, 40, 42, 42]
    last = found[-1]
    expected = {tag: tag for tag in range(60) if not 12 <= tag < 30}
    expected |= {tag: 90 + tag for tag in range(5)}
    assert dict(zip(last.tags.tolist(), last.rows.tolist(), strict=True)) == expected
    assert np.all(np.diff(last.tags) > 0)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            [("insert", 0, 5), ("insert", 4, 6)],
            "2: tags to insert must be free, got tag 4",
        ),
        (
            [("insert", 0, 5), ("delete", 4, 6)],
            "2: tags to delete must live, got tag 5",
        ),
        ([("delete", 0, 5)], "1: tags to delete must live, got tag 0"),
        ([("insert", 0, 12)], "1: at most max_pts=10 must live, got 12"),
    ],
)
def test_steps_that_contradict_each_other(book, steps, message):
    lines = [
        f"  {i}: {{operation: {operation}, start: {start}, end: {end}}}"
        for i, (operation, start, end) in enumerate(steps, 1)
    ]
    found = book("mine:\n  max_pts: 10\n" + "\n".join(lines))
    with pytest.raises(ConfigError, match=f"mine: {message}"):
        list(states(found))


def test_more_may_come_and_go_than_live_at_once(book):
    text = """
mine:
  max_pts: 6
  1: {operation: insert, start: 0, end: 6}
  2: {operation: delete, start: 0, end: 6}
  3: {operation: insert, start: 50, end: 56}
"""
    assert [len(state.tags) for state in states(book(text))] == [6, 0, 6]


def test_truth_is_that_among_the_living(book):
    steps = book(GOOD)
    for state in states(steps, find_truth(steps, Data)):
        if state.step.operation != "search":
            assert state.neighbors is None
            continue
        D = np.linalg.norm(Data.train[state.rows][None] - Data.test[:, None], axis=2)
        expected = np.argsort(D, axis=1, kind="stable")[:, :10]
        assert np.array_equal(state.neighbors, expected)


def test_truth_of_fewer_than_ten(book):
    insert, search = "{operation: insert, start: 3, end: 7}", "{operation: search}"
    text = f"mine: {{max_pts: 9, 1: {insert}, 2: {search}}}"
    found = find_truth(book(text), Data)
    assert list(found) == [2]
    assert np.array_equal(np.sort(found[2], axis=1), np.tile(range(4), (7, 1)))


def test_a_dataset_that_is_too_small_and_a_search_in_nothing(book):
    text = "mine: {max_pts: 999, 1: {operation: insert, start: 0, end: 101}}"
    with pytest.raises(ConfigError, match="mine: needs 101 vectors, got 100 of mine"):
        find_truth(book(text), Data)
    with pytest.raises(ConfigError, match="mine: 1: a vector must live to search"):
        find_truth(book("mine: {max_pts: 9, 1: {operation: search}}"), Data)


def test_answers_are_found_among_the_living_or_refused():
    state = State(Step(1, "search"), np.array([2, 5, 9]), np.array([2, 5, 9]), None)
    assert state.positions(np.array([[9, -1], [2, 5]])).tolist() == [[2, -1], [0, 1]]
    for dead in (0, 3, 10):
        message = f"1 of 2 hold a vector that was deleted: query 1 has {dead}"
        with pytest.raises(ValueError, match=message):
            state.positions(np.array([[2, -1], [5, dead]]))


def test_the_ready_made_runbook_is_sound():
    path = Path(runbooks.__file__).with_name("small.yaml")
    (section,) = sections(path)
    operations = [state.step.operation for state in states(read(path, section))]
    assert set(operations) == {"insert", "delete", "replace", "search"}
    assert operations[-1] == "search"


def test_the_runbook_of_churn_searches_the_same_vectors_again_and_again():
    path = Path(runbooks.__file__).with_name("churn.yaml")
    (section,) = sections(path)
    book = read(path, section)
    operations = [step.operation for step in book.steps]
    assert operations.count("delete") == 20
    assert operations[-1] == "search"
    sizes = {len(step.tags) for step in book.steps if step.operation == "delete"}
    assert sizes == {book.max_pts // 5}
    searched = [s.rows for s in states(book) if s.step.operation == "search"]
    assert all(len(rows) == book.max_pts for rows in searched)
