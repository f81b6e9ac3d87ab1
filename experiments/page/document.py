"""The page: what is known in Python as HTML, the rest as data for its JavaScript."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any

from experiments.encoding import visible
from experiments.frontier import COARSE
from experiments.page.best import Best, best_at
from experiments.page.material import Material, Section, Trace
from experiments.page.queries import FEWER_THAN, SHARES
from experiments.percentiles import MEDIAN, PERCENTS, words
from experiments.plots.curves import remarks_on_loads
from experiments.plots.rows import Run
from experiments.plots.scales import measured_us
from experiments.ratios import TARGETS, Ratio
from experiments.statistics import NOISY, Interval

#: One after another they are the page's script.
SCRIPTS = (
    "frontier.js", "words.js", "axes.js", "figures.js", "draw.js", "tables.js",
    "page.js",
)  # fmt: skip
_READ = (
    "Read between the two measured settings around the recall, the logarithm of a cost "
    "linear in recall; never extrapolated. – : not reached. ≤, ≥ : the quickest "
    "setting already finds more. ~ : the two settings are more than "
    f"{COARSE} of recall apart. Small figures are intervals: of latencies, 95 % over "
    "queries; of QPS, the least and the greatest of single rounds."
)
_TAILS = {  # what a section's latencies of queries are
    "tail_us": ", each asked once in every round",
    f"{MEDIAN}tail_us": "; a query median is its median over rounds",
}
_LOADED = (
    " Under load queries come at random times to one thread; their latency counts from "
    "when they were due, and the load is their rate over that which the same process "
    "sustains, one after another. Of each curve it is the quickest setting that "
    "reaches the recall of the config."
)
_RATES = {"qps_1thread": "QPS 1 thread ×", "qps": "QPS ×"}


LONG = 44  # letters of a name, beyond which it is broken into lines


def document(material: Material) -> str:
    """Return the whole page; it asks the network for nothing."""
    from plotly.offline import get_plotlyjs

    names = list(dict.fromkeys(section.group.dataset for section in material.sections))
    runs = ", ".join(run.name for run in material.runs)
    data = {
        "shares": SHARES,
        "fewerThan": FEWER_THAN,
        "targets": TARGETS,
        "coarse": COARSE,
        "noisy": NOISY,
        "long": LONG,
        "sections": [section.json() for section in material.sections],
    }
    return Template(_text("template.html")).substitute(
        title=escape(f"{runs}: {', '.join(names)}" if names else runs),
        heading=escape(runs),
        style=_text("page.css"),
        links="".join(_link(section) for section in material.sections),
        sections="".join(map(_section, material.sections)),
        left_out=_left_out(material.left_out),
        provenance="".join(map(_provenance, material.runs)),
        plotly=get_plotlyjs(),
        data=_script_json(data),
        script="\n".join(map(_text, SCRIPTS)),
    )


def escape(text: str) -> str:
    """Return a text as HTML, for an attribute too."""
    return html.escape(visible(text))


def _text(name: str) -> str:
    return files("experiments.page").joinpath(name).read_text(encoding="utf-8")


def _script_json(value: Any) -> str:
    """Return JSON that cannot end the script it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _link(section: Section) -> str:
    return f'<a href="#{section.name}">{escape(section.group.dataset)}</a>'


def _section(section: Section) -> str:
    return Template(_text("section.html")).substitute(
        name=section.name,
        dataset=escape(section.group.dataset),
        facts=escape(" · ".join(section.facts[1:])),
        overhead=_overhead(section),
        coarse=COARSE,
        percentiles=escape(_percentiles(section)),
        tail=_TAILS[section.tail],
        loaded=_loaded(section),
        best=_best(section),
        ratios=_ratios(section),
        left_out=_left_out(section.left_out),
    )


def _percentiles(section: Section) -> str:
    """Say what the percentiles are of, and which there are not, and why."""
    pooled = [name for name in section.latencies.values() if name in PERCENTS]
    defined = f"{', '.join(pooled)}: of all single queries of all rounds."
    return " ".join([defined] * bool(pooled) + list(section.remarks))


def _loaded(section: Section) -> str:
    points = [each.point for trace in section.traces for each in trace.settings]
    offered = [point for point in points if point.loads]
    if not offered:
        return ""
    return f"{_LOADED} {remarks_on_loads(offered, ('p50', 'p99'))}".rstrip()


def _overhead(section: Section) -> str:
    if math.isnan(section.overhead_us):
        return ""
    return (
        "<p>The harness itself takes "
        f"{measured_us(section.overhead_us)} of every latency here: so long is the "
        f"{words(section.latencies['p50'])} of a search that does nothing.</p>"
    )


def _best(section: Section) -> str:
    """Return the table of what is best at the recalls of interest."""
    p50, p99 = (section.latencies[percentile] for percentile in ("p50", "p99"))
    found = [best_at(section.traces, target, p50, p99) for target in TARGETS]
    if not any(found):
        return ""
    several = f"QPS {section.threads} threads" if section.threads > 1 else "QPS"
    names = {"p50": f"{words(p50)} µs", "p99": f"{words(p99)} µs", "qps": several}
    heads = {
        name: head
        for name, head in names.items()
        if any(
            not math.isnan(getattr(best, name).value) for each in found for best in each
        )
    }
    traces = _by_speed(section.traces, found)
    rows = [_best_row(trace, found, list(heads)) for trace in traces]
    groups = "".join(
        f'<th colspan="{len(heads)}" scope="colgroup">recall@10 ≥ {target:.2f}</th>'
        for target in TARGETS
    )
    columns = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads.values())
    return (
        "<h3>Best at recall ≥ "
        f"{', '.join(f'{target:.2f}' for target in TARGETS)}</h3>"
        '<div class="scroll" tabindex="0"><table class="best"><thead>'
        f'<tr><th rowspan="2" scope="col">index</th>{groups}</tr>'
        f"<tr>{columns * len(TARGETS)}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        f'<p class="note">{escape(_READ)} Bold: the best of its column. ◆ : no other '
        f"index is as good in {words(p50)}, memory and build time, and better in one "
        "of them. Noisy: without one of its rounds, the median of a setting's p50 "
        f"would differ by more than {NOISY:.0%}.</p>"
    )


def _by_speed(
    traces: Sequence[Trace], found: Sequence[Sequence[Best]]
) -> Iterator[Trace]:
    """Yield traces by their rank at the middle recall, then at any, then the rest."""
    middle = len(found) // 2
    ranked = [best.trace for each in (found[middle], *found) for best in each]
    seen = set()
    for trace in (*ranked, *traces):
        if trace.label not in seen:
            seen.add(trace.label)
            yield trace


def _best_row(
    trace: Trace, found: Sequence[Sequence[Best]], names: Sequence[str]
) -> str:
    cells = []
    for each in found:
        best = next((best for best in each if best.trace is trace), None)
        hint = f' title="{escape(best.words)}"' if best else ""
        for name in names:
            text = "–" if best is None else _cell(best, each, name)
            first = ' class="first"' * (name == names[0])
            cells.append(f"<td{first}{hint}>{text}</td>")
    data = "".join(cells)
    return f'<tr data-curve="{escape(trace.label)}">{_name(trace.label)}{data}</tr>'


def _name(label: str) -> str:
    """Return the head of a row."""
    kind = ' class="long"' * (len(label) > LONG)
    return f'<th scope="row"{kind}>{escape(label)}</th>'


def _cell(best: Best, each: Sequence[Best], name: str) -> str:
    """Return a reading, its badges where it is the p50, and its interval."""
    interval: Interval = getattr(best, name)
    if math.isnan(interval.value):
        return "–"
    rate = name == "qps"
    mark = "≥" if rate and best.reading.bound else best.reading.mark
    text = f"{mark}{digits(interval.value)}"
    known = [v for b in each if not math.isnan(v := getattr(b, name).value)]
    if interval.value == (max(known) if rate else min(known)):
        text = f"<b>{text}</b>"
    if name == "p50":
        badges = ["◆"] * best.front + ["noisy"] * best.noisy
        text += "".join(f' <span class="badge">{badge}</span>' for badge in badges)
    if not math.isnan(interval.low + interval.high):
        text += f"<small>{digits(interval.low)}–{digits(interval.high)}</small>"
    return text


def digits(value: float) -> str:
    """Return three significant digits, thousands apart."""
    if not math.isfinite(value):
        return "–"
    places = 3 - len(str(int(abs(value))))
    return f"{round(value, places):,.{max(places, 0)}f}"


def _ratios(section: Section) -> str:
    """Return the table of how many times faster ours is."""
    lines = section.ratios
    if not lines:
        return ""
    latencies = [section.latencies[percentile] for percentile in PERCENTS]
    shown = {f"{name}_us": f"{words(name)} ×" for name in latencies} | _RATES
    heads = ["ours", "peer", "recall", *shown.values(), "build ×"]
    rows = []
    for line in lines:
        cells = [f"{line.mark}{line.recall:.2f}"]
        cells += [_span(line.compared(measure).ratio) for measure in shown]
        cells.append(_fixed(line.build))
        data = "".join(f"<td>{cell}</td>" for cell in cells)
        names = "".join(_name(side) for side in (line.ours, line.peer))
        rows.append(f"<tr>{names}{data}</tr>")
    return _details(
        "Ours against peers: how many times faster at equal recall",
        _table(heads, rows)
        + '<p class="note">Above 1 ours is faster. Small: the least and the greatest '
        "of single rounds, measured in turns, and of the ratio itself.</p>",
    )


def _span(ratio: Ratio) -> str:
    if math.isnan(ratio.low):
        return _fixed(ratio.value)
    span = f"<small>{_fixed(ratio.low)}–{_fixed(ratio.high)}</small>"
    return _fixed(ratio.value) + span


def _fixed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _left_out(rows: Sequence[Mapping[str, str]]) -> str:
    """Return what was refused, failed or skipped, and why, for each data set."""
    held: dict[str, dict[tuple[str, str], list[str]]] = {}
    for cells in rows:
        dataset, label, status, search = (
            cells.get(name, "")
            for name in ("dataset", "label", "status", "search_params")
        )
        of_dataset = held.setdefault(dataset, {})
        of_dataset.setdefault((label, status), []).append(search)
    return "".join(_left_out_of(dataset, parts) for dataset, parts in held.items())


def _left_out_of(dataset: str, parts: Mapping[tuple[str, str], list[str]]) -> str:
    lines = []
    for (label, status), searches in parts.items():
        which = ", ".join(searches[:3]) + ", …" * (len(searches) > 3)
        texts = (str(len(searches)), which, status)
        cells = "".join(f"<td>{escape(text)}</td>" for text in texts)
        lines.append(f"<tr>{_name(label)}{cells}</tr>")
    count = sum(map(len, parts.values()))
    points = f"{count} point{'s' * (count != 1)} of {escape(dataset)}"
    table = _table(("index", "points", "settings", "status"), lines, "words")
    heading = f"<h3>Refused, failed, skipped: {points}</h3>"
    return f'<div class="left-out">{heading}{table}</div>'


def _provenance(run: Run) -> str:
    """Return everything that is known of where a run comes from."""
    stamp = {key: value for key, value in run.provenance.items() if value is not None}
    if not stamp:
        return f"<h3>{escape(run.name)}</h3><p>It has no provenance.</p>"
    config = stamp.pop("config", None)
    lines = "".join(
        f"<dt>{escape(key.replace('_', ' '))}</dt><dd>{_known(value)}</dd>"
        for key, value in stamp.items()
    )
    text = json.dumps(config, indent=2, ensure_ascii=False)
    folded = _details("config", f"<pre>{escape(text)}</pre>") if config else ""
    return f"<h3>{escape(run.name)}</h3><dl>{lines}</dl>{folded}"


def _known(value: Any) -> str:
    match value:
        case Mapping():
            return ", ".join(f"{escape(str(k))} {_known(v)}" for k, v in value.items())
        case list() if any(isinstance(each, Mapping) for each in value):
            return "<br>".join(map(_known, value))
        case list():
            return ", ".join(map(_known, value))
        case float():
            return f"{value:.4g}"
        case bool():
            return "yes" if value else "no"
        case _:
            return escape(str(value))


def _table(heads: Sequence[str], rows: Sequence[str], kind: str = "") -> str:
    columns = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}"><thead><tr>{columns}'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _details(summary: str, body: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"
