"""What a measurement must not have done; a row that did is refused, and says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from experiments.recall import distances_of, repeated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.measure import Sample

MOST_CORES = 1.05  # processor time over wall time; more is not a single thread
# Of a distance: float32, and products that cancel: ‖q‖² + ‖x‖² − 2⟨q, x⟩.
_RTOL, _OF_NORMS = 1e-3, 1e-5


def refusal(
    sample: Sample, X: NDArray[np.float32], Q: NDArray[np.float32], metric: str
) -> str | None:
    """Return why a round of a search setting does not count, or None if it does.

    Parameters
    ----------
    sample : the round; its ids are valid
    X, Q : the vectors
    metric : "l2", "ip", "cosine" or "l1"
    """
    if sample.cores > MOST_CORES:
        return f"latency must be of one thread, it used {sample.cores:.2f} cores"
    if sample.compiled:
        return f"nothing may compile while timed, Numba did {sample.compiled} times"
    if sample.changed:
        return "the search must not change the queries"
    twice = repeated(sample.ids) & (sample.ids >= 0)
    if twice.any():
        row, column = np.argwhere(twice)[0]
        many = f"{int(twice.any(axis=1).sum())} of {len(twice):,} repeat one"
        example = f"query {row} has {sample.ids[row, column]} twice"
        return f"ids of an answer must differ, {many}: {example}"
    return _wrong_distance(sample, X, Q, metric)


def _wrong_distance(
    sample: Sample, X: NDArray[np.float32], Q: NDArray[np.float32], metric: str
) -> str | None:
    """Compare the distances that an exact index gave with those of the vectors."""
    given = sample.distances
    if given is None:
        return None
    for i in range(len(Q)):
        ids = sample.ids[[i]]
        true = distances_of(ids, X, Q[[i]], metric)[0]
        norms = np.linalg.norm(X[np.maximum(ids[0], 0)].astype(np.float64), axis=1)
        norm = float(np.linalg.norm(Q[i].astype(np.float64)))
        room = _room(true, norms, norm, metric)
        wrong = ~(np.abs(given[i] - true) <= room) & (ids[0] >= 0)
        if wrong.any():
            j = int(wrong.argmax())
            return (
                f"distances must be those of the vectors: query {i} and {ids[0, j]} "
                f"are {true[j]:.6g} apart, got {given[i, j]:.6g}"
            )
    return None


def _room(
    true: NDArray[np.float64], norms: NDArray[np.float64], norm: float, metric: str
) -> NDArray[np.float64]:
    room = _RTOL * np.abs(true)
    match metric:
        case "l2":  # an error of the square is one of its root
            square = _OF_NORMS * (norms**2 + norm**2)
            return room + np.sqrt(true**2 + square) - true
        case "ip":
            return room + _OF_NORMS * norms * norm
        case "cosine":
            return room + _OF_NORMS
        case _:
            return room
