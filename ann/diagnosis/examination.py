"""``ann.audit``: survey, sample, judge, advise."""

from collections.abc import Iterator

from numpy.typing import ArrayLike

from ann import parallel, validation
from ann.diagnosis.advice import choose, recommend
from ann.diagnosis.letter import Diagnosis
from ann.diagnosis.nearness import (
    PROBES,
    REFERENCE,
    TOP,
    Gap,
    Ground,
    Nearness,
    breadth,
)
from ann.diagnosis.nearness import gap as gap_of
from ann.diagnosis.nearness import nearness as nearness_of
from ann.diagnosis.rules import Case, findings
from ann.diagnosis.survey import matrix, survey
from ann.metrics import metric as metric_of


def audit(
    X: ArrayLike,
    queries: ArrayLike | None = None,
    *,
    metric: str | None = None,
    sample: int = REFERENCE,
    seed: int = 0,
    threads: int | None = None,
) -> Diagnosis:
    """Examine vectors before they are indexed.

    Finds rows that are NaN, infinite, zero or equal, norms that are normalised in part,
    columns that are constant or drown the others, values that were cast, neighbourhoods
    without contrast, and queries that are not like the rows; tells norms, intrinsic
    dimension, contrast and hubs; and recommends a metric, with reasons.

    Parameters
    ----------
    X : (n, d) array
        Of any real dtype; a mapped file is read block by block, once and a sample.
    queries : (nq, d) array, optional
        Those to be asked, or some of them.
    metric : str, optional
        The one you mean to use, in any spelling: it is judged by, and compared with
        the one that is recommended.
    sample : int
        Rows at most that distances are measured among.
    seed : int
        Of the samples.
    threads : int, optional
        Default all cores. The result does not depend on it.

    Returns
    -------
    Diagnosis
        ``print`` it for a letter; ``.findings``, ``.recommendation`` and the measures
        for programs.

    Raises
    ------
    ValueError
        Not numeric, not two-dimensional, empty, queries of another width, an unknown
        metric, ``sample < 1``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((5000, 32))
    >>> X[:100] /= np.linalg.norm(X[:100], axis=1, keepdims=True)
    >>> ann.audit(X).codes
    ('mixed-norms',)
    """
    array = matrix(X, "X")
    asked = None if queries is None else matrix(queries, "queries", array.shape[1])
    sample = validation.integer(sample, "sample", 1)
    seed = validation.integer(seed, "seed", 0)
    threads = validation.threads(threads, parallel.available())
    stated = None if metric is None else metric_of(metric).name

    rows = survey(array)
    choice = choose(rows, breadth(array, rows.norms, seed))
    chosen = stated or choice[0]
    # Under ip nearness is one of directions, too: how long a query is changes nothing.
    cosine = chosen in ("cosine", "ip") or rows.unit_share > 0.5
    ground = Ground.of(array, rows.norms, cosine, sample, seed)
    near = nearness_of(ground, seed, threads)
    seen, gap = None, None
    if asked is not None:
        seen = survey(asked)
        some = ground.queries(asked, seen.norms, PROBES, seed)
        if len(ground.rows):
            gap = gap_of(ground, near, rows, seen, some, threads)
    found = findings(Case(chosen, rows, seen, near, gap))
    advice = recommend(choice, rows, near, found, stated)
    told = tuple(_sampled(rows.n, near, gap, seed))
    return Diagnosis(found, advice, rows, seen, near, gap, told)


def _sampled(
    n: int, near: Nearness | None, gap: Gap | None, seed: int
) -> Iterator[str]:
    """Say what was measured on what."""
    yield f"Norms, columns and equal rows: all {n:,} rows."
    if near is None:
        yield "Distances: not measured, of too few rows with a direction."
        return
    among = f"{near.reference:,} of {n:,} rows" if near.reference < n else "all rows"
    yield (
        f"Dimension, contrast and agreement: {near.probes:,} rows searched for among "
        f"{among}, dimension by their {near.k} nearest."
    )
    yield f"Hubs: the {TOP} nearest of {len(near.counts):,} rows among each other."
    if gap is not None:
        yield f"Queries: distances of {gap.queries:,}, among the same rows."
    if n > len(near.counts):
        yield f"Samples: drawn with seed {seed}; the same seed gives the same letter."
