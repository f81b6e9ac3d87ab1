"""The page in a real, headless Chromium; skipped where there is none."""

import contextlib
import re
import shutil
import tomllib
from itertools import pairwise

import numpy as np
import pytest

from experiments import page, results
from experiments.encoding import visible
from experiments.frontier import read_at
from experiments.page.best import best_at
from experiments.page.document import digits
from experiments.page.material import NUMBERS, gather
from tests.experiments import page_run
from tests.experiments.labels import LABELS
from tests.experiments.page_run import CURVES, EFS, OLD, write


@pytest.fixture(name="browser", scope="module")
def _browser():
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(name="html", scope="module")
def _html(tmp_path_factory):
    home = tmp_path_factory.mktemp("page")
    return page.write([write(home / "mine")], home / "report.html")


@contextlib.contextmanager
def opened(browser, html, width=1440, scheme="light", height=1000):
    """Open the page; at the end nothing may have gone wrong or been asked for."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme
    )
    tab, wrong, asked = context.new_page(), [], []
    tab.on("console", lambda message: wrong.append(message.text))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(html.as_uri())
    tab.wait_for_selector("#section-0 table.ranking tbody tr")
    yield tab
    assert wrong == []
    assert asked == [html.as_uri()]
    context.close()


def ranked(tab, column=1):
    """Return the curves of the ranking and one of its columns."""
    rows = tab.locator("#section-0 table.ranking tbody tr").all()
    return {
        row.get_attribute("data-curve"): row.locator("th, td").nth(column).inner_text()
        for row in rows
    }


def data(tab, figure):
    """Return what a figure shows: of each trace its curve's label and its places."""
    node = f"document.querySelector('#section-0 figure.{figure}')"
    return tab.evaluate(f"{node}.data.map(({{ meta, x, y }}) => ({{ meta, x, y }}))")


def drawn(tab, figure):
    return [trace["meta"] for trace in data(tab, figure)]


def slide(tab, nines):
    move = "(node, at) => { node.value = at; node.dispatchEvent(new Event('input')); }"
    tab.locator("#section-0 .slider input").evaluate(move, nines)
    # The page's own timers fire in order, however late: this one after the drawing's.
    tab.evaluate("new Promise((done) => setTimeout(done, 100))")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 420])
def test_it_fits_and_every_figure_is_drawn(browser, html, width, scheme):
    with opened(browser, html, width, scheme) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        for name in ("tradeoff", "memory", "build", "latency", "lost", "lid"):
            figure = tab.locator(f"#section-0 figure.{name}")
            box = figure.bounding_box()
            assert box["height"] > 250, name
            assert box["x"] >= 0, name
            assert box["x"] + box["width"] <= width, name
            assert len(drawn(tab, name)) >= len(CURVES), name
        assert tab.locator("#section-1 figure.lid").is_hidden()  # nothing is known
        ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


LATENCIES = tuple(name for name in NUMBERS if name.endswith(("_us", "_low", "_high")))


ALL_BUT_ONE = NUMBERS[1:]  # recall@1


@pytest.mark.parametrize("missing", [OLD, LATENCIES, ("recall_at_10",), ALL_BUT_ONE])
def test_it_copes_with_little(browser, tmp_path, missing):
    bare = write(tmp_path / "bare", missing, files=False)
    html = page.write([bare], tmp_path / "report.html")
    with opened(browser, html) as tab:
        assert len(ranked(tab)) == len(CURVES)
        tab.locator("#section-0 .stops button", has_text="0.99").click()
        tab.locator('#section-0 .chips [data-curve="HNSW"]').click()
        assert len(ranked(tab)) == len(CURVES) - 1
        shown = tab.locator("#section-0 figure.tradeoff .main-svg").count() > 0
        assert shown == (missing != ALL_BUT_ONE)  # nothing to stand against recall
        assert "Infinity" not in tab.locator("main").inner_text()


@pytest.mark.parametrize("width", [1440, 420])
def test_labels_of_every_kind_are_shown_as_they_are(browser, tmp_path, width):
    rows = [
        page_run.point("data", label, "ann", {"M": i}, ef, 3.0 + i / 9, 1 / ef)
        for i, label in enumerate(LABELS)
        for ef in (10, 40)
    ]
    (tmp_path / "run").mkdir()
    results.write_rows(tmp_path / "run" / "rows.csv", rows)
    html = page.write([tmp_path / "run"], tmp_path / "report.html")
    with opened(browser, html, width) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        assert set(ranked(tab)) == set(map(visible, LABELS))
        for table in ("ranking", "best"):
            cell = tab.locator(f"#section-0 table.{table} tbody td").first
            assert cell.bounding_box()["x"] < 0.6 * width, table
        names = tab.evaluate(
            """[...document.querySelectorAll('#section-0 figure.tradeoff .annotation')]
            .map((node) => node.getBoundingClientRect())
            .map((box) => [box.left, box.right])"""
        )
        assert names
        assert all(left >= 0 and right <= width for left, right in names)


def test_words_do_not_overlap_the_frame_or_each_other(browser, html):
    with opened(browser, html, 420) as tab:
        boxes = tab.evaluate(
            """[...document.querySelectorAll('#section-0 figure.tradeoff .xtick text')]
            .map((node) => node.getBoundingClientRect())
            .map((box) => [box.left, box.right])"""
        )
        assert len(boxes) >= 4
        assert all(a[1] < b[0] for a, b in pairwise(boxes))


def test_the_slider_ranks_by_what_the_frontier_reads(browser, html):
    traces = gather([html.parent / "mine"]).sections[0].traces
    with opened(browser, html) as tab:
        orders = {}
        for nines, recall in ((0.5, 0.68), (1.0, 0.9), (2.0, 0.99), (3.0, 0.999)):
            slide(tab, nines)
            assert tab.locator("#section-0 output").inner_text() == str(recall)
            best = best_at(traces, recall)
            found = ranked(tab)
            names = [each.trace.label for each in best]
            assert list(found)[: len(names)] == names
            orders[recall] = names
            for each in best:
                value = digits(each.p50.value)
                text = found[each.trace.label].split("\n")[0]
                assert text == each.reading.mark + value
            for label in set(CURVES) - set(names):
                assert found[label] == "–"
        assert len({tuple(names) for names in orders.values()}) > 1
        tab.locator("#section-0 .stops button", has_text="0.95").click()
        assert tab.locator("#section-0 output").inner_text() == "0.95"


@pytest.mark.parametrize("recall", [0.9, 0.99])
def test_figures_are_of_the_recall_of_the_slider(browser, html, recall):
    traces = gather([html.parent / "mine"]).sections[0].traces
    with opened(browser, html) as tab:
        tab.locator("#section-0 .stops button", has_text=f"{recall:.2f}").click()
        found = {
            name: {trace["meta"]: trace for trace in data(tab, name)}
            for name in ("memory", "latency", "lost", "lid")
        }
        best = [b for b in best_at(traces, recall) if "<" not in b.trace.label]
        assert len(best) == len(CURVES) - 1  # the odd label is quoted
        for each in best:
            label = each.trace.label
            profile = each.trace.settings[each.reading.above].profile
            assert found["latency"][label]["x"] == profile["tail_us"]  # of all rounds
            known = [share for share in profile["lost"] if share > 0]
            assert found["lost"][label]["y"] == known
            assert len(found["lid"][label]["y"]) == 10
            memory = found["memory"][label]
            size = each.trace.settings[0].numbers["index_bytes"] / 50_000
            assert memory["x"] == pytest.approx([size])
            assert memory["y"] == pytest.approx([each.p50.value])
        front = found["memory"][None]
        assert front["x"] == sorted(front["x"])
        assert front["y"] == sorted(front["y"], reverse=True)
        assert len(front["x"]) == (1 if recall == 0.9 else 2)  # SQ8; then HNSW too


def test_loads_are_drawn_of_the_curves_that_were_loaded(browser, html):
    with opened(browser, html) as tab:
        for figure, factor in (("load50", 1), ("load99", 3)):
            found = {trace["meta"]: trace for trace in data(tab, figure)}
            assert found.keys() == {"HNSW", "hnswlib"}
            assert found["HNSW"]["x"] == [0.5, 0.9]
            waits = [factor * 800, factor * 4000]
            assert found["HNSW"]["y"] == pytest.approx(waits)
        tab.locator('#section-0 .chips [data-curve="HNSW"]').click()
        assert drawn(tab, "load99") == ["hnswlib"]
        assert tab.locator("#section-1 figure.load99").is_hidden()  # none was offered


def test_the_scripts_read_as_python_does(browser, html):
    rng = np.random.default_rng(0)
    cases = []
    for n in (1, 2, 5, 12):
        for _ in range(20):
            recall = np.round(rng.uniform(0.3, 1, n), 2).tolist()
            cost = np.round(rng.uniform(1, 9, n), 1).tolist()
            cases.append((round(float(rng.uniform(0.3, 1)), 2), recall, cost))
    with opened(browser, html) as tab:
        found = tab.evaluate(
            """(cases) => cases.map(([target, recall, cost]) => {
                const reading = readAt(target, recall, cost);
                return reading && [reading.below, reading.above, valueOf(reading, cost),
                                   markOf(reading)];
            })""",
            cases,
        )
    for (target, recall, cost), reading in zip(cases, found, strict=True):
        expected = read_at(target, recall, cost)
        if expected is None:
            assert reading is None
        else:
            assert reading[:2] == [expected.below, expected.above]
            assert reading[2] == pytest.approx(expected.of(cost))
            assert reading[3] == expected.mark


def test_the_head_of_a_column_ranks_by_it(browser, html):
    with opened(browser, html) as tab:
        tab.locator("#section-0 [data-rank=qps]").click()
        head = tab.locator("#section-0 table.ranking th[aria-sort]")
        assert head.get_attribute("aria-sort") == "descending"
        assert head.inner_text() == "QPS 2 threads"
        place = tab.locator("#section-0 table.ranking thead th").all_inner_texts()
        column = place.index("QPS 2 threads")
        texts = [t.split("\n")[0].lstrip("~≥") for t in ranked(tab, column).values()]
        values = [float(text.replace(",", "")) for text in texts]
        assert values == sorted(values, reverse=True)
        assert len(set(values)) > 1


def test_toggles_hide_and_show_a_curve_everywhere(browser, html):
    with opened(browser, html) as tab:
        chip = tab.locator('#section-0 .chips [data-curve="HNSW"]')
        for _ in range(2):
            assert chip.get_attribute("aria-pressed") == "true"
            assert "HNSW" in drawn(tab, "tradeoff")
            chip.click()
            assert chip.get_attribute("aria-pressed") == "false"
            for name in ("tradeoff", "memory", "latency", "lid"):
                assert "HNSW" not in drawn(tab, name), name
                assert "hnswlib" in drawn(tab, name), name
            assert "HNSW" not in ranked(tab)
            chip.click()
        assert "HNSW" in ranked(tab)
        tab.get_by_role("button", name="none").first.click()
        assert drawn(tab, "tradeoff") == []
        assert ranked(tab) == {}
        tab.get_by_role("button", name="ours").first.click()
        assert set(ranked(tab)) == {"HNSW", "HNSW SQ8"}


def test_measures_and_marks_can_be_chosen(browser, html):
    title = (
        "document.querySelector('#section-0 figure.tradeoff').layout.yaxis.title.text"
    )
    bars = (
        "document.querySelector('#section-0 figure.tradeoff').data"
        ".some((t) => t.error_y?.array?.length)"
    )
    with opened(browser, html) as tab:
        view = tab.locator("#section-0 .view")
        names = view.locator("option").all_inner_texts()
        assert "latency, p99" not in names  # too few queries to tell
        for value, words in (("qps", "queries per second"), ("p95_us", "p95 of")):
            view.select_option(value)
            assert tab.evaluate(title).startswith(words)
        view.select_option("qps")
        for trace in data(tab, "tradeoff"):  # no setting beats another in both
            assert len(trace["x"]) == len(EFS)
            assert trace["y"] == sorted(trace["y"], reverse=True)
        view.select_option("p50_us")
        assert tab.evaluate(bars)
        tab.locator("#section-0 .intervals").uncheck()
        assert not tab.evaluate(bars)
        tab.locator("#section-0 .k").select_option("1")
        assert tab.evaluate(title.replace("yaxis", "xaxis")) == "recall@1"


def test_the_theme_can_be_changed(browser, html):
    ground = "getComputedStyle(document.body).backgroundColor"
    line = "document.querySelector('#section-0 figure.tradeoff').data[0].line.color"
    with opened(browser, html) as tab:
        before = tab.evaluate(ground), tab.evaluate(line)
        tab.locator("#theme").click()
        dark = tab.evaluate(ground), tab.evaluate(line)
        assert dark[0] != before[0]
        assert dark[1] != before[1]
        tab.locator("#theme").click()
        assert (tab.evaluate(ground), tab.evaluate(line)) == before


def test_a_click_on_a_point_tells_how_to_measure_it_again(browser, html):
    with opened(browser, html) as tab:
        tab.locator("#section-0 .chips button", has_text="none").click()
        tab.locator('#section-0 .chips [data-curve="HNSW SQ8"]').click()
        point = tab.locator("#section-0 figure.tradeoff path.point").first
        box = point.bounding_box()
        tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        tab.wait_for_selector("#section-0 figure.tradeoff .hovertext")
        hover = tab.locator("#section-0 figure.tradeoff .hovertext").text_content()
        assert "ef_search=10" in hover
        assert "SQ(bits=8)" in hover
        tab.mouse.down()
        tab.mouse.up()
        dialog = tab.locator("dialog")
        assert dialog.is_visible()
        assert "ann run mine.toml" in dialog.locator("pre.commands").inner_text()
        config = tomllib.loads(dialog.locator("pre.config").inner_text())
        assert config["index"][0]["search"] == {"ef_search": 10}
        dialog.get_by_role("button", name="copy").first.click()
        dialog.get_by_text(re.compile("^(copied|selected)$")).wait_for()
        dialog.get_by_role("button", name="close").click()
        assert dialog.is_hidden()


def test_a_zoom_keeps_plain_ticks_and_a_double_click_returns(browser, html):
    ticks = "document.querySelector('#section-0 figure.tradeoff').layout.xaxis.ticktext"
    reach = "document.querySelector('#section-0 figure.tradeoff').layout.xaxis.range"
    with opened(browser, html) as tab:
        before = tab.evaluate(ticks), tab.evaluate(reach)
        box = tab.locator("#section-0 figure.tradeoff .nsewdrag").bounding_box()
        x, y = box["x"] + 0.5 * box["width"], box["y"] + 0.2 * box["height"]
        tab.mouse.move(x, y)
        tab.mouse.down()
        tab.mouse.move(x + 200, y + 200, steps=5)
        tab.mouse.up()
        tab.wait_for_function(f"(was) => `${{{reach}}}` !== `${{was}}`", arg=before[1])
        zoomed = tab.evaluate(reach)
        assert zoomed[0] > before[1][0]
        assert zoomed[1] < before[1][1]
        assert all(re.fullmatch(r"\.\d+|1\.0|0", tick) for tick in tab.evaluate(ticks))
        tab.mouse.dblclick(x, y)
        tab.wait_for_function(f"(was) => `${{{reach}}}` === `${{was}}`", arg=before[1])
        assert tab.evaluate(ticks) == before[0]
        assert tab.evaluate(reach) == before[1]


def test_every_point_is_in_the_table(browser, html):
    with opened(browser, html) as tab:
        tab.locator("#section-0 details.points summary").click()
        table = tab.locator("#section-0 details.points table")
        table.locator("tr.point").first.wait_for()
        heads = table.locator("thead th").all_inner_texts()
        wanted = {"@10 ids alone", "@10 ann-benchmarks", "≥ 0.9", "p5", "none", "sway"}
        assert wanted <= set(heads)
        assert "p99 µs" not in heads  # nobody has one
        assert table.locator("tr.point").count() == len(CURVES) * len(EFS)
        assert table.locator(".badge").count() == len(EFS)
        assert tab.evaluate("document.documentElement.scrollWidth") == 1440


def test_it_prints_light_and_within_the_paper(browser, html):
    with opened(browser, html, scheme="dark") as tab:
        wide = "document.querySelector('#section-0 figure.tradeoff').layout.width"
        before = tab.evaluate(wide)
        tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert tab.evaluate(wide) <= 1031  # A4 across, less its margins
        assert tab.evaluate("document.documentElement.dataset.theme") == "light"
        tab.evaluate("dispatchEvent(new Event('afterprint'))")
        assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
        assert tab.evaluate(wide) == before
