"""Users' words in a terminal: as they are, in any encoding, and in line."""

import ast
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import rich.console
from rich.cells import cell_len

import ann
import experiments
from experiments import config, encoding, plan, report
from experiments.exits import complain
from experiments.progress import Progress
from experiments.terminal import Console, Plain, Table
from tests.experiments.labels import LABELS

ENCODINGS = ["ascii", "latin-1", "cp1252", "utf-8"]


def printed(renderable, name="utf-8", width=80, console=Console):
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=name)
    console(file=file, width=width).print(renderable)
    file.flush()
    return raw.getvalue().decode(name)


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("console", [Console, rich.console.Console])
def test_a_table_shows_every_label_and_stays_in_line(name, console):
    table = Table()
    table.add_column("index", overflow="fold", width=60)
    table.add_column("µs", justify="right", no_wrap=True)
    for label in LABELS:
        table.add_row(label, "1.5")
    text = printed(table, name, console=console)
    assert len({cell_len(line) for line in text.splitlines()}) == 1
    seen = "".join(line.removesuffix(" 1.5 ").strip() for line in text.splitlines())
    for label in LABELS:
        assert encoding.printable(label, name).replace(" ", "") in seen.replace(" ", "")
    assert ("─" in text) == (name == "utf-8")


@pytest.mark.parametrize("name", ENCODINGS)
def test_labels_that_differ_are_shown_as_different(name):
    shown = [encoding.printable(label, name) for label in LABELS]
    assert len(set(shown)) == len(LABELS)
    assert not any("\x1b" in text or "\u202e" in text for text in shown)


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("p50 µs – ≤40 ×2 ≈ …", "ascii", "p50 us - <=40 x2 ~= ..."),
        ("p50 µs – ≤40 ×2 ≈ …", "latin-1", "p50 µs - <=40 ×2 ~= ..."),
        ("p50 µs – ≤40 ×2 ≈ …", "cp1252", "p50 µs – <=40 ×2 ~= …"),
        ("é 日 😀", "ascii", r"\xe9 \u65e5 \U0001f600"),
        ("é 日 😀", "utf-8", "é 日 😀"),
        ("a\tb\nc\rd\x00", "utf-8", "a\tb\nc\\rd\\x00"),
        ("not \udcff decoded", "utf-8", r"not \udcff decoded"),
        ("é", None, "é"),
    ],
)
def test_what_an_encoding_lacks_is_spelled_or_escaped(text, name, expected):
    assert encoding.printable(text, name) == expected


def test_a_string_that_is_printed_is_no_markup():
    label = "old [/usr/bin] :smile:"
    assert printed(label) == f"{label}\n"
    assert printed(Plain(label, "bold"), console=rich.console.Console) == f"{label}\n"


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_plan_shows_every_label(name):
    table = {
        "name": "x",
        "dataset": [{"name": "digits-64-euclidean"}],
        "index": [
            {"kind": "HNSW", "label": label, "build": {"M": number}}
            for number, label in enumerate(LABELS, start=2)
        ],
    }
    shown = report.planned(plan.make(config.Config.model_validate(table)), None)
    text = printed(shown, name, width=400)
    for label in LABELS:
        assert encoding.printable(label, name) in text


def test_progress_shows_what_is_done_as_it_is():
    file = io.StringIO()
    with Progress(Console(file=file, width=100, force_terminal=True), 1) as progress:
        progress.doing("日本 [/x] \x1b[31m" + "W" * 300)
        progress.print("old [/usr/bin]: built")
        progress.done()
    text = file.getvalue()
    assert "日本 [/x] \\x1b[31m" in text
    assert "old [/usr/bin]: built\n" in text


def test_streams_take_any_text(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="ascii"))
    encoding.set_up()
    sys.stderr.write("results/é\n")
    complain("日\x1b[31m: no such file")
    sys.stderr.flush()
    assert raw.getvalue() == b"results/\\xe9\n\\u65e5\\x1b[31m: no such file\n"


ARGUMENTS = {"read_text": 0, "write_text": 1}  # of a path's methods


def opens_text(call):
    """Return whether a call opens a file of text without naming its encoding."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if any(keyword.arg == "encoding" for keyword in call.keywords):
        return False
    if name in ARGUMENTS:
        return len(call.args) == ARGUMENTS[name]
    modes = [each.value for each in call.args if isinstance(each, ast.Constant)]
    return name == "open" and not any("b" in str(mode) for mode in modes)


@pytest.mark.parametrize("package", [ann, experiments])
def test_every_file_of_text_is_opened_in_utf_8(package):
    others = ("os", "archive", "job", "Image")  # whose `open` is another
    for path in Path(package.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and opens_text(node):
                owner = getattr(getattr(node.func, "value", None), "id", "")
                assert owner in others, f"{path}, line {node.lineno}"


def test_a_command_works_where_the_locale_has_ascii_alone(tmp_path):
    (tmp_path / "x.toml").write_text(
        'name = "x"\n[[dataset]]\nname = "digits-64-euclidean"\n'
        '[[index]]\nkind = "Flat"\nlabel = "é [/x]"\n',
        encoding="utf-8",
    )
    code = "from experiments.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "x.toml", "--dry-run"],
        cwd=tmp_path,
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0"},
        capture_output=True,
        check=True,
    )
    assert rb"\xe9 [/x]" in done.stdout
    assert done.stderr == b""
