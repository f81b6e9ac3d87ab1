"""A page that shows how things are and asks the network for nothing."""

import math
from collections.abc import Sequence
from html import escape

from ann.monitor.alerts import SCORES
from ann.monitor.ledger import Report, Summary

REFRESH_S = 2
_WIDTH, _HEIGHT = 480, 80  # of the line, in pixels

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --bad: #c33; --good: #283; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto;
       padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: right; padding: .2rem .5rem; font-variant-numeric: tabular-nums;
         border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
.alert { border-left: .3rem solid var(--bad); padding: .2rem .8rem; margin: .6rem 0; }
.past { border-color: var(--line); }
.state { color: var(--bad); } .state.good { color: var(--good); }
svg { width: 100%; height: 5rem; } polyline { fill: none; stroke: currentColor; }
"""


def html(monitors: Sequence[tuple[str, Report]]) -> str:
    """Return the page of some monitors, by name."""
    parts = "".join(_section(name, report) for name, report in monitors)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="refresh" content="{REFRESH_S}">'
        f"<title>ann monitor</title><style>{_STYLE}</style></head>"
        f"<body>{parts}</body></html>"
    )


def _section(name: str, report: Report) -> str:
    good = not report.standing
    state = "nothing to report" if good else "alert: " + ", ".join(report.standing)
    alerts = "".join(
        f'<p class="alert{"" if a.code in report.standing else " past"}">'
        f"{escape(a.sentence)}<br><small>after {a.query:,} queries</small></p>"
        for a in reversed(report.alerts[-5:])
    )
    counts = ", ".join(f"{value:,} {key}" for key, value in report.counts.items())
    return (
        f"<h1>{escape(name or 'ann')}</h1>"
        f'<p class="state{" good" if good else ""}"><strong>{state}</strong></p>'
        f"{alerts}<h2>recall@{report.k}</h2><p>{told(report)}</p>{_line(report)}"
        f"<h2>queries</h2>{_table(report)}"
        f"<p><small>{report.queries:,} queries, {report.checked:,} checked, "
        f"{counts}</small></p>"
    )


def told(report: Report) -> str:
    """Return the recall in a sentence."""
    if not report.checked:
        return "no query checked yet"
    span = f"{report.recall:.3f} (95 % interval {report.low:.3f} to {report.high:.3f})"
    if math.isnan(report.baseline):
        return f"{span}; its baseline is being learnt"
    return f"{span}, baseline {report.baseline:.3f}"


def rows(report: Report) -> list[list[str]]:
    """Return norms and scores as lines of a table, under ``HEADS``."""
    score = f"top-1 {SCORES[report.metric]}"
    named = (("norm", report.norms), (score, report.scores))
    return [[name, *_cells(summary)] for name, summary in named]


HEADS = ["of each query", "p50", "p95", "p99", "mean", "baseline", "may move by"]


def _cells(summary: Summary) -> list[str]:
    values = (
        summary.p50, summary.p95, summary.p99, summary.mean, summary.baseline,
        summary.allowed,
    )  # fmt: skip
    return ["–" if math.isnan(value) else f"{value:.4g}" for value in values]


def _table(report: Report) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in HEADS)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows(report)
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _line(report: Report) -> str:
    """Draw recall over the window, from 0 to 1, above its baseline."""
    steps = report.history
    if len(steps) < 2:
        return ""
    across = _WIDTH / (len(steps) - 1)
    points = " ".join(f"{i * across:.1f},{_high(y):.1f}" for i, y in enumerate(steps))
    base = ""
    if not math.isnan(report.baseline):
        at = f"{_high(report.baseline):.1f}"
        dots = 'stroke="var(--line)" stroke-dasharray="4"'
        base = f'<line x1="0" x2="{_WIDTH}" y1="{at}" y2="{at}" {dots}/>'
    view = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none"'
    label = "recall over the window, oldest first, from 0 to 1"
    return (
        f'<svg {view} role="img" aria-label="{label}">{base}'
        f'<polyline points="{points}"/></svg>'
    )


def _high(recall: float) -> float:
    return (1 - recall) * (_HEIGHT - 4) + 2
