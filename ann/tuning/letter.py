"""What ``ann.tune`` found, and the letter in which it is told."""

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ann.diagnosis.words import number
from ann.index import Index
from ann.presets import Use
from ann.tuning.bench import TAIL_NEEDS, Latency
from ann.tuning.candidates import EXACT, Setting
from ann.tuning.contest import Entry
from ann.tuning.verdict import Verdict
from ann.tuning.wish import Wish

WIDTH = 88


@dataclass(frozen=True)
class Tried:
    """One candidate with one way to search it, and what became of it.

    Parameters
    ----------
    name : str               such as "HNSW(M=16) on SQ8, refine=1.5"
    search_params : dict     at which it was compared; of the chosen one, as returned
    recall : float           mean over the queries that choose
    p50_us : float           median latency of a lone query
    undisturbed_us : float   by which it was compared, see ``Latency``
    bytes_per_vector, build_s : float
    fate : str               "chosen", or why not

    Figures are NaN where it did not come to that.
    """

    name: str
    search_params: Setting
    recall: float
    p50_us: float
    undisturbed_us: float
    bytes_per_vector: float
    build_s: float
    fate: str

    @classmethod
    def of(cls, entry: Entry) -> "Tried":
        """Return what is kept of an entry: all but its index."""
        return cls(
            entry.candidate.name, dict(entry.setting), entry.recall,
            entry.latency.p50_us, entry.latency.undisturbed_us,
            entry.bytes_per_vector, entry.build_s, entry.fate,
        )  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Tuned:
    """An index that was chosen by measuring; printed, it is a letter.

    Parameters
    ----------
    index : Index
        Of all vectors, ready: ``index.search(Q, k, **search_params)``.
    search_params : dict
    k : int
        Recall is that of the ``k`` nearest.
    recall, lower_bound : float
        Mean over the queries held out, and what it is at least for all such queries,
        with ``confidence``.
    target_recall, confidence : float
    objective : str
    latency : Latency
        ``p50_us`` and ``p99_us`` of lone queries on one thread, in microseconds, and
        ``undisturbed_us``, by which it was chosen.
    choosers, judges : int
        Queries that chose, and queries held out.
    tests : int
        Settings that were tested on the queries held out; 0 of exact search.
    tried : tuple of Tried
        Every candidate: the chosen one, the others by what they take, those that were
        not compared.
    use : Use or None
    seconds : float
        What it all took.
    """

    index: Index
    search_params: Setting
    k: int
    recall: float
    lower_bound: float
    target_recall: float
    confidence: float
    objective: str
    latency: Latency
    choosers: int
    judges: int
    tests: int
    tried: tuple[Tried, ...]
    use: Use | None
    seconds: float

    @classmethod
    def of(
        cls, chosen: Entry, shown: Verdict, entries: list[Entry], asked: Wish,
        queries: tuple[int, int], seconds: float,
    ) -> "Tuned":  # fmt: skip
        """Put together what was found; the chosen one is the first of ``entries``."""
        return cls(
            index=shown.chosen,
            search_params=dict(shown.setting),
            k=asked.k,
            recall=shown.recall,
            lower_bound=shown.lower,
            target_recall=asked.target,
            confidence=asked.confidence,
            objective=asked.objective,
            latency=chosen.latency,
            choosers=queries[0],
            judges=queries[1],
            tests=shown.tests,
            tried=tuple(map(Tried.of, entries)),
            use=asked.use,
            seconds=seconds,
        )

    @property
    def params(self) -> dict[str, Any]:
        """The constructor's parameters of the index."""
        return self.index.params

    @property
    def nbytes(self) -> int:
        """Bytes of the index."""
        return self.index.nbytes

    @property
    def runner_up(self) -> Tried | None:
        """The best of those that were compared and not chosen."""
        return next((each for each in self.tried[1:] if each.p50_us > 0), None)

    def __repr__(self) -> str:
        return "\n".join(_lines(self))


def _lines(of: Tuned) -> Iterator[str]:
    index = of.index
    yield (
        f"Tuned for {of.objective}: {index.ntotal:,} vectors of {index.d} dimensions, "
        f"{index.metric}"
    )
    yield from ("", "Chosen")
    for name, value in figures(of):
        yield from _wrapped(value, f"  {name:9}")
    yield from ("", "Why")
    for reason in reasons(of):
        yield from _wrapped(reason, "- ")
    yield from ("", "Tried")
    for each in of.tried:
        yield f"- {each.name}{_search(each.search_params)}"
        yield from _wrapped(told(each), "  ")
    yield from ("", "What this rests on")
    for ground in grounds(of):
        yield from _wrapped(ground, "- ")


def figures(of: Tuned) -> Iterator[tuple[str, str]]:
    """Yield names and values of what was chosen."""
    yield "index", repr(of.index)
    yield "search", f"index.search(Q, k={of.k}{_search(of.search_params)})"
    yield "recall", _recall(of)
    yield "latency", _latency(of.latency)
    each = of.nbytes / of.index.ntotal
    yield "memory", f"{number(each)} bytes a vector, {of.nbytes:,} in all"


def _recall(of: Tuned) -> str:
    if not of.tests:
        return "1, as every vector is looked at"
    return (
        f"{of.recall:.4f} on {of.judges:,} queries held out; for all such queries at "
        f"least {of.lower_bound:.4f}, with {100 * of.confidence:g} % confidence"
    )


def _latency(of: Latency) -> str:
    if math.isnan(of.p99_us):
        tail = f"no p99, as it needs {TAIL_NEEDS} queries and {of.queries} were timed"
    else:
        tail = f"99 in 100 within {number(of.p99_us)} µs"
    return f"{number(of.p50_us)} µs, {tail}; one query at a time, on one thread"


def reasons(of: Tuned) -> Iterator[str]:
    """Yield why it was chosen, a sentence each."""
    compared = [each for each in of.tried if each.p50_us > 0]
    least = "takes the fewest bytes" if of.objective == "memory" else "is the quickest"
    yield (
        f"{of.tried[0].name} {least} of {len(compared)} that were likely to reach mean "
        f"recall@{of.k} {of.target_recall:g}, each at the least effort that was: "
        f"{number(of.latency.undisturbed_us)} µs undisturbed."
    )
    if runner := of.runner_up:
        yield (
            f"Runner-up: {runner.name}{_search(runner.search_params)}: "
            f"{number(runner.undisturbed_us)} µs, {number(runner.bytes_per_vector)} "
            f"bytes a vector, {runner.fate}."
        )
    exact = next((each for each in compared if each.name == EXACT.name), None)
    if exact and of.tests and of.objective == "latency":
        times = exact.undisturbed_us / of.latency.undisturbed_us
        yield (
            f"Exact search takes {number(exact.undisturbed_us)} µs, {number(times)} "
            "times as long."
        )
    if of.tests:
        yield (
            f"The queries held out saw {of.tests} of its settings, from great effort "
            "down; this is the last that met the target before one did not, or none "
            "was left."
        )


def told(each: Tried) -> str:
    """Say in a line what was measured of a candidate, and what became of it."""
    known = [
        ("recall {:.3f}", each.recall),
        ("{} µs", each.undisturbed_us),
        ("{} bytes a vector", each.bytes_per_vector),
        ("built in {} s", each.build_s),
    ]
    words = [
        form.format(value if ":" in form else number(value))
        for form, value in known
        if not math.isnan(value)
    ]
    return ", ".join([*words, each.fate])


def grounds(of: Tuned) -> Iterator[str]:
    """Yield what the promise rests on, a sentence each."""
    asked = f"recall@{of.k} {of.target_recall:g}, confidence {of.confidence:g}"
    use = f", for {of.use.name}" if of.use else ""
    yield f"Asked for: {asked}, least {of.objective}{use}. It took {of.seconds:.1f} s."
    if of.tests:
        yield (
            f"{of.choosers:,} queries chose, {of.judges:,} others judged. The bound is "
            "one by betting: it assumes nothing but that queries to come are drawn as "
            "these were."
        )
    left = [each.name for each in of.tried if each.fate.startswith("not tried")]
    if left:
        yield f"The budget was used up before: {'; '.join(left)}."
    yield (
        "Latency is that of this machine, now; recall and memory are the same "
        "everywhere. It is of all single queries of all rounds; candidates were "
        "compared by what they take undisturbed, the median over queries of each one's "
        "lower quartile over rounds."
    )
    if math.isnan(of.latency.p99_us):
        yield "Where there is no p99, a limit of latency is one of the median."


def written(setting: Setting) -> str:
    """Write search parameters as in a call."""
    return ", ".join(f"{key}={value}" for key, value in setting.items())


def _search(setting: Setting) -> str:
    return f", {written(setting)}" if setting else ""


def _wrapped(text: str, lead: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead)
    )
