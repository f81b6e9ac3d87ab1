"""``ann.tune``: an index chosen by measuring, with what can be promised of it."""

import math

from numpy.typing import ArrayLike

from ann import validation
from ann.flat import Flat
from ann.tuning.bench import Stopwatch, Truth
from ann.tuning.contest import Contest, Entry
from ann.tuning.letter import Tuned
from ann.tuning.verdict import Verdict, verdict
from ann.tuning.wish import Objective, UnreachableError, Wish, split, wish


def tune(
    X: ArrayLike,
    queries: ArrayLike,
    *,
    metric: str = "l2",
    k: int = 10,
    target_recall: float | None = None,
    confidence: float = 0.95,
    objective: Objective = "latency",
    max_bytes_per_vector: float | None = None,
    max_latency_ms: float | None = None,
    budget: float | None = 60.0,
    seed: int = 0,
    use: str | None = None,
    threads: int | None = None,
) -> Tuned:
    """Choose structure, codec and parameters, and say how sure the choice is.

    A third of the queries choose, two thirds are held out and judge: the setting that
    is returned has shown on them, by a lower confidence bound, that its mean recall
    meets the target on queries such as these.

    Parameters
    ----------
    X : (n, d) array
        What is to be searched; the index that is returned holds all of it, with ids
        0..n-1.
    queries : (nq, d) array
        Such as are to come, and none of them in X; some hundreds at least: 99 for the
        defaults. At most 3,000, drawn at random, are used.
    metric : str
    k : int
        Recall is that of the ``k`` nearest.
    target_recall : float, optional
        In (0, 1); by default what ``use`` asks for at least, or 0.95.
    confidence : float
        The chance, at least, that the promise holds: in (0, 1).
    objective : {"latency", "memory"}
        What is to be least: the time of a lone query on one thread, undisturbed by what
        else the machine does, or bytes.
    max_bytes_per_vector : float, optional
        Of ``index.nbytes / n``.
    max_latency_ms : float, optional
        Of 99 lone queries in 100; by default what ``use`` allows.
    budget : float, optional
        Seconds. No build begins that would not end within it, as far as earlier ones
        tell; it may be exceeded by one build and by what the verdict takes. None tries
        all.
    seed : int
        Of the indexes, and of which queries choose.
    use : str, optional
        A name in ``ann.PRESETS``: "rag", "recommendation", "image-similarity",
        "safety-critical" or "re-ranking".
    threads : int, optional
        Of builds; all cores by default.

    Returns
    -------
    Tuned
        ``index``, ``search_params`` and what can be promised; ``print`` it for a
        letter.

    Raises
    ------
    ValueError
        Wrong shapes or values, too few queries; ``UnreachableError``, one of them,
        where nothing meets the target within the limits.

    Notes
    -----
    Candidates are those of :mod:`ann.tuning.candidates`. ``Flat`` is always among them
    and finds everything, so without limits there is always an answer. Latency depends
    on the machine and the moment: on the same data, two runs may choose differently
    among candidates that are equally good. See docs/tune.md.

    Examples
    --------
    >>> tuned = ann.tune(X, queries, target_recall=0.95)
    >>> ids, distances = tuned.index.search(Q, k=10, **tuned.search_params)
    """
    asked = wish(
        metric, k, target_recall, confidence, objective, max_bytes_per_vector,
        max_latency_ms, budget, seed, use, threads,
    )  # fmt: skip
    rows = validation.vectors(X, "X")
    if len(rows) < asked.k:
        raise ValueError(f"X must have at least k={asked.k} rows, got {len(rows)}")
    parts = split(queries, rows.shape[1], asked)
    watch = Stopwatch(asked.budget_s)
    exact = Flat(asked.metric).add(rows, threads=asked.threads)
    choosers, judges = (
        Truth(exact, rows, Q, asked.k, asked.threads)
        for Q in (parts.choose, parts.judge)
    )
    contest = Contest(rows, exact, choosers, len(parts.judge), asked, watch)
    ranked = contest.run()
    chosen, shown = _shown(contest, ranked, choosers, judges, asked)
    entries = contest.concluded(chosen, shown.setting, shown.recall)
    shown.chosen.norm_check = "warn"
    sizes = len(parts.choose), len(parts.judge)
    return Tuned.of(chosen, shown, entries, asked, sizes, watch.elapsed_s)


def _shown(
    contest: Contest, ranked: list[Entry], choosers: Truth, judges: Truth, asked: Wish
) -> tuple[Entry, Verdict]:
    """Return the best entry, or exact search where it fails, and the verdict.

    Only these two: each further index would be one more chance to pass by luck.
    """
    for entry in ranked[:1]:
        if found := verdict(entry, choosers, judges, asked):
            return entry, found
        entry.drop("not convincing on the queries held out")
    exact = contest.fallback()
    if exact and (found := verdict(exact, choosers, judges, asked)):
        return exact, found
    raise UnreachableError(_unreachable(contest.entries, asked))


def _unreachable(entries: list[Entry], asked: Wish) -> str:
    """Say what was asked for and what came nearest to it."""
    limits = {
        "max_bytes_per_vector": asked.most_bytes,
        "max_latency_ms": asked.most_us / 1e3,
    }
    within = [f"{name}={limit:g}" for name, limit in limits.items() if limit < math.inf]
    known = [entry for entry in entries if entry.recall > 0]
    told = [
        f"{entry.candidate.name} has recall {entry.recall:.3f}: {entry.fate}"
        for entry in sorted(known, key=lambda entry: -entry.recall)[:3]
    ]
    return (
        f"target_recall must be in reach within {' and '.join(within)}, got "
        f"{asked.target:g}: {'; '.join(told)}"
    )
