"""Figures in Prometheus' text format, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ann.monitor.alerts import CODES
from ann.monitor.ledger import PERCENTILES, Report, Summary

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = dict[str, str]


class Sample(NamedTuple):
    """One line: what comes behind the family's name, labels, and the value."""

    suffix: str
    labels: Labels
    value: float


class Family(NamedTuple):
    """A metric with its samples."""

    name: str
    kind: str  #: counter, gauge or summary
    help: str
    samples: list[Sample]


def text(monitors: Sequence[tuple[str, Report]]) -> str:
    """Return the figures of monitors, each with its name as the label ``monitor``."""
    families: dict[str, Family] = {}
    for name, report in monitors:
        for family in _families(report):
            shared = families.setdefault(family.name, family._replace(samples=[]))
            shared.samples.extend(
                sample._replace(labels={"monitor": name, **sample.labels})
                for sample in family.samples
            )
    return "".join(line + "\n" for f in families.values() for line in _lines(f))


def _lines(family: Family) -> Iterator[str]:
    told = family.help.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {family.name} {told}"
    yield f"# TYPE {family.name} {family.kind}"
    for suffix, labels, value in family.samples:
        inner = ",".join(f'{key}="{_quoted(text)}"' for key, text in labels.items())
        yield f"{family.name}{suffix}{{{inner}}} {_number(value)}"


def _quoted(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def _families(report: Report) -> Iterator[Family]:
    counts = report.counts
    yield _one("queries_total", "Queries looked at.", report.queries)
    yield _one("sampled_total", "Queries picked to be checked.", counts["sampled"])
    yield _one("checked_total", "Queries compared with exact search.", report.checked)
    yield _one("dropped_total", "Picked, and let go unchecked.", counts["dropped"])
    yield _one("unseen_total", "Queries that nobody looked at.", counts["unseen"])
    yield _one("errors_total", "Checks and callbacks that failed.", counts["errors"])
    what = f"Mean recall@{report.k} of the window"
    yield _one("recall", f"{what}.", report.recall)
    yield _one("recall_low", f"{what}, low end of its 95 % interval.", report.low)
    yield _one("recall_high", f"{what}, high end of its 95 % interval.", report.high)
    yield _one("recall_baseline", "Recall that it is held against.", report.baseline)
    yield from _of("query_norm", "Norms of the queries", report.norms)
    yield from _of("top1_score", "Scores of the best answers", report.scores)
    evidence = (report.norms.evidence, report.scores.evidence, report.evidence)
    yield _by_rule("evidence", "gauge", "From 0 to 1, which is an alert.", evidence)
    standing = [float(code in report.standing) for code in CODES]
    yield _by_rule("alert", "gauge", "Whether an alert stands.", standing)
    raised = [report.raised[code] for code in CODES]
    yield _by_rule("alerts_total", "counter", "Alerts raised.", raised)


def _one(name: str, told: str, value: float) -> Family:
    kind = "counter" if name.endswith("_total") else "gauge"
    return Family(f"ann_monitor_{name}", kind, told, [Sample("", {}, value)])


def _by_rule(name: str, kind: str, told: str, values: Sequence[float]) -> Family:
    samples = [
        Sample("", {"rule": code}, value)
        for code, value in zip(CODES, values, strict=True)
    ]
    return Family(f"ann_monitor_{name}", kind, told, samples)


def _of(name: str, told: str, summary: Summary) -> Iterator[Family]:
    quantiles = [
        Sample("", {"quantile": f"{percent / 100:g}"}, getattr(summary, f"p{percent}"))
        for percent in PERCENTILES
    ]
    whole = [Sample("_sum", {}, summary.total), Sample("_count", {}, summary.count)]
    known = "over the window; sum and count of all."
    yield Family(
        f"ann_monitor_{name}", "summary", f"{told}, {known}", quantiles + whole
    )
    yield _one(f"{name}_mean", f"{told}, mean of the window.", summary.mean)
    yield _one(f"{name}_baseline", f"{told}, mean when learnt.", summary.baseline)
