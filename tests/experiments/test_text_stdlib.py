import subprocess
import sys

import pytest

from experiments.text import passages, stdlib


@pytest.fixture(name="library", scope="module")
def _library():
    return stdlib.gather()


def test_summaries_are_one_line_each(library):
    summaries = library.summaries
    assert len(summaries) > 200
    assert list(summaries) == sorted(summaries)
    assert summaries["tempfile"] == "Temporary files."
    assert summaries["http.client"] == "HTTP/1.1 client library"
    assert not any("\n" in text or "\t" in text for text in summaries.values())
    assert not set(library.without) & set(summaries)


def test_only_what_others_may_import_is_there(library):
    names = [*library.summaries, *library.without]
    parts = [part for name in names for part in name.split(".")]
    assert not any(part.startswith("_") for part in parts)
    assert not {"test", "tests", "idlelib"} & set(parts)


def test_compiled_modules_are_asked_and_no_source_is_run(tmp_path):
    out = tmp_path / "stdlib.txt"
    code = (
        "import sys; from pathlib import Path; from experiments.text import stdlib; "
        f"found = stdlib.gather(); stdlib.write(found, Path({str(out)!r})); "
        "print('this' in sys.modules, 'turtle' in sys.modules, 'cmath' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False False False\n"
    found = {each.label: each.text for each in passages.read(out, labels=True)}
    assert "complex numbers" in found["cmath"]
    assert "Turtle graphics" in found["turtle"]


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("heaps.py - Heap queues", "Heap queues"),
        ("Module heaps -- a queue. Another\nsentence.", "a queue."),
        ("The heaps module: a queue", "a queue"),
        ("heaps\n~~~~~\n\nQueues of\n heaps.\n", "Queues of heaps."),
        ("Heaps and more", "Heaps and more"),
        ("Heaps-like queues", "Heaps-like queues"),
        ("About e.g. heaps.\n\nMore.", "About e.g. heaps."),
        ("heaps", ""),
        ("", ""),
    ],
)
def test_a_summary_is_a_sentence_that_does_not_begin_with_the_name(docstring, expected):
    assert stdlib.summary(docstring, "xs.heaps") == expected
