"""All that a monitor knows: what came in, what was learnt, which alerts stand.

It knows nothing of indexes, threads or clocks: the same numbers in the same order give
the same alerts, whenever they are handed over.
"""

import json
import math
import os
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ann import validation
from ann.monitor.alerts import CODES, Alert, of_norms, of_recall, of_scores
from ann.monitor.evidence import CONFIDENCE_95, Floats, wilson
from ann.monitor.following import FEWEST, PIECE, Move, Recall, Stream
from ann.monitor.settings import Settings
from ann.storage.replacing import replacing, write_at

FORMAT = 1
PERCENTILES = (50, 95, 99)
COUNTS = ("sampled", "dropped", "unseen", "errors")
_KEPT = 100  # alerts
_GAPS = 256  # checked queries that tell whose fault a change of scores is
_FEW, _ENOUGH = 3, 10  # of them that it takes to find the index guilty, and innocent
_LATE = 5000  # queries without them, and the cause is unknown
_RISING = 0.3  # evidence that is waited for: chance gives it once in 200 times


@dataclass(frozen=True)
class Summary:
    """One number of each query, over the window; NaN where nothing is known.

    Attributes
    ----------
    count, total : int, float
        Of all queries ever.
    mean, p50, p95, p99 : float
        Of the window.
    baseline, allowed : float
        The mean that was learnt, and how far from it the mean may be.
    evidence : float
        Of a change: from 0 to 1, which is an alert.
    """

    count: int
    total: float
    mean: float
    p50: float
    p95: float
    p99: float
    baseline: float
    allowed: float
    evidence: float


@dataclass(frozen=True)
class Report:
    """How things are.

    Attributes
    ----------
    metric, k : str, int
    queries, checked : int
        Looked at, and compared with the exact answer.
    recall, low, high : float
        Mean recall@k of the window, and its 95 % interval (Wilson).
    baseline : float
        The recall that it is held against; NaN while it is learnt.
    evidence : float
        Of a fall: from 0 to 1, which is an alert.
    norms, scores : Summary
        Of the queries' lengths and of their best answers.
    standing : tuple of str
        Codes of the alerts that stand.
    alerts : tuple of Alert
        The last hundred, oldest first.
    raised : dict of int
        Alerts ever, by code.
    counts : dict of int
        ``sampled``: queries picked to be checked; ``dropped``: those of them that were
        not, for want of time; ``unseen``: queries that nobody looked at, when too many
        came; ``errors``: checks and callbacks that failed.
    history : tuple of float
        Recall over the window, in up to 50 steps, oldest first.
    """

    metric: str
    k: int
    queries: int
    checked: int
    recall: float
    low: float
    high: float
    baseline: float
    evidence: float
    norms: Summary
    scores: Summary
    standing: tuple[str, ...]
    alerts: tuple[Alert, ...]
    raised: dict[str, int]
    counts: dict[str, int]
    history: tuple[float, ...]


class Ledger:
    """The figures of a monitor.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.queries = 0
        self.norms = Stream(settings, absolute=False)
        self.scores = Stream(settings, absolute=settings.metric == "cosine")
        self.recall = Recall(settings)
        self.alerts: deque[Alert] = deque(maxlen=_KEPT)
        self.raised = dict.fromkeys(CODES, 0)
        self.counts = dict.fromkeys(COUNTS, 0)
        self._gaps: deque[tuple[int, float]] = deque(maxlen=_GAPS)
        self._move: tuple[int, Move] | None = None  # of scores: where it began
        self._pending: dict[str, Move] = {}  # alerts whose cause is to be found

    # --- what comes in ----------------------------------------------------------------

    def follow(self, norms: Floats, scores: Floats) -> list[Alert]:
        """Take norms and top-1 scores (n,) of queries; return new alerts.

        A score that is not known is not finite.
        """
        new = []
        for a in range(0, len(norms), PIECE):
            piece = slice(a, a + PIECE)
            self.queries += len(norms[piece])
            longer = self.norms.take(norms[piece])
            if longer is not None and self.norms.alarm.ring(longer.size):
                limit = self.norms.allowed
                new.append(of_norms(longer, limit, self.settings, self.queries))
            moved = self.scores.take(scores[piece])
            if moved is not None and self.scores.alarm.ring(moved.size):
                self._move = self.queries - moved.size, moved
                self._pending["scores"] = moved
            new += self._explained()
        return self._noted(new)

    def judge(self, recall: float, gap: float, query: int) -> list[Alert]:
        """Take what exact search says of one query; return new alerts.

        Parameters
        ----------
        recall : in [0, 1]
        gap : float             how much better the best answer should have scored
        query : int             its number
        """
        self._gaps.append((query, float(gap) if math.isfinite(gap) else 0.0))
        fall = self.recall.take(recall)
        if fall is not None and self.recall.alarm.ring(fall.size):
            self._pending["recall"] = fall
        return self._noted(self._explained())

    def learn(self, norms: Floats, scores: Floats, recalls: Floats) -> None:
        """Take queries as the baseline; where there are none, what comes next."""
        if 0 < len(norms) < FEWEST:
            raise ValueError(
                f"Q must have at least {FEWEST} queries to learn from, got {len(norms)}"
            )
        self.norms.learn(norms)
        self.scores.learn(scores[np.isfinite(scores)])
        self.recall.learn(recalls)
        for recent in (self.norms.recent, self.scores.recent, self.recall.recent):
            recent.clear()
        self._gaps.clear()
        self._move, self._pending = None, {}

    # --- whose fault ------------------------------------------------------------------

    def _explained(self) -> list[Alert]:
        """Return the alerts that wait for their cause, as soon as it is known."""
        cause = self._cause() if self._pending else None
        if cause is None:
            return []
        make = {"scores": of_scores, "recall": of_recall}
        limits = {"scores": self.scores.allowed, "recall": self.settings.drop}
        pending, self._pending = self._pending, {}
        return [
            make[code](move, limits[code], self.settings, cause, self.queries)
            for code, move in pending.items()
        ]

    def _cause(self) -> str | None:
        """Tell whose fault it is; None while that is to be seen.

        Where scores moved, exact search says: if half of the way is what the index
        misses, it is the index. In a sound one hardly anything is missed, so three
        queries suffice for that; that it misses nothing takes more to believe.
        """
        if self.norms.alarm.active:
            return "queries"
        if self._move is not None and (
            self.scores.alarm.active or "scores" in self._pending
        ):
            start, move = self._move
            gaps = [gap for query, gap in self._gaps if query > start]
            if len(gaps) >= _FEW and np.mean(gaps) >= abs(move.by) / 2:
                return "index"
            if len(gaps) >= _ENOUGH:
                return "queries"
            waited = self.queries - start - move.size
            return "unknown" if waited >= _LATE else None
        return None if self.scores.evidence >= _RISING else "index"

    def _noted(self, new: list[Alert]) -> list[Alert]:
        self.alerts.extend(new)
        for alert in new:
            self.raised[alert.code] += 1
        return new

    # --- how things are ---------------------------------------------------------------

    def report(self) -> Report:
        """Return how things are."""
        recalls, recall = np.array(self.recall.recent), self.recall
        mean, low, high = math.nan, 0.0, 1.0
        if len(recalls):
            mean = float(recalls.mean())
            low, high = wilson(recalls, self.settings.k, CONFIDENCE_95)
        alarms = (self.norms.alarm, self.scores.alarm, recall.alarm)
        steps = np.array_split(recalls, min(50, len(recalls))) if len(recalls) else []
        return Report(
            metric=self.settings.metric,
            k=self.settings.k,
            queries=self.queries,
            checked=recall.count,
            recall=mean,
            low=low,
            high=high,
            baseline=recall.baseline,
            evidence=recall.evidence,
            norms=_summary(self.norms),
            scores=_summary(self.scores),
            standing=tuple(
                code
                for code, alarm in zip(CODES, alarms, strict=True)
                if alarm.active and code not in self._pending
            ),
            alerts=tuple(self.alerts),
            raised=dict(self.raised),
            counts=dict(self.counts),
            history=tuple(float(step.mean()) for step in steps),
        )

    # --- files ------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a small JSON file: whole, or not at all."""
        state = {
            "format": FORMAT,
            "settings": asdict(self.settings),
            "queries": self.queries,
            "norms": self.norms.saved(),
            "scores": self.scores.saved(),
            "recall": self.recall.saved(),
            "alerts": [asdict(alert) for alert in self.alerts],
            "raised": self.raised,
            "counts": self.counts,
            "gaps": list(self._gaps),
            "move": self._move and [self._move[0], *self._move[1]],
            "pending": {code: list(move) for code, move in self._pending.items()},
        }
        text = json.dumps(state, allow_nan=False).encode()
        with replacing(os.fsdecode(path)) as file:
            write_at(file, memoryview(text), 0)

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Go on where the ledger was that wrote a file.

        Raises
        ------
        ValueError
            It is no such file, or of another metric or k.
        OSError
            It cannot be read.
        """
        state = _read(path)
        try:
            self._take_over(state)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(_unlike(path, repr(error))) from None

    def _take_over(self, state: dict[str, Any]) -> None:
        for name in ("metric", "k"):
            was, now = state["settings"][name], getattr(self.settings, name)
            if was != now:
                raise ValueError(f"{name} must be {now}, as asked for, got {was}")
        self.queries = validation.integer(state["queries"], "queries", 0)
        for name in ("norms", "scores", "recall"):
            getattr(self, name).restore(state[name])
        self.alerts.extend(Alert(**alert) for alert in state["alerts"])
        self.raised = {code: int(state["raised"][code]) for code in CODES}
        self.counts = {name: int(state["counts"][name]) for name in COUNTS}
        self._gaps.extend((int(query), float(gap)) for query, gap in state["gaps"])
        if state["move"] is not None:
            start, *move = state["move"]
            self._move = int(start), Move(*move)
        pending = state["pending"].items()
        self._pending = {code: Move(*move) for code, move in pending}


def opened(path: str | os.PathLike[str]) -> Ledger:
    """Return the ledger that a file holds, to be looked at.

    Raises
    ------
    ValueError, OSError
        As ``Ledger.restore``.
    """
    try:
        settings = Settings(**_read(path)["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(_unlike(path, repr(error))) from None
    ledger = Ledger(settings)
    ledger.restore(path)
    return ledger


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    with open(path, "rb") as file:
        text = file.read()
    try:
        state = json.loads(text)
    except ValueError as error:
        raise ValueError(_unlike(path, str(error))) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        got = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise ValueError(_unlike(path, f"format must be {FORMAT}, got {got!r}"))
    return state


def _unlike(path: str | os.PathLike[str], why: str) -> str:
    return f"{os.fsdecode(path)}: must be what a monitor saved: {why}"


def _summary(stream: Stream) -> Summary:
    values = np.array(stream.recent)
    mean, middle, high, highest = [math.nan] * 4
    if len(values):
        mean = float(values.mean())
        middle, high, highest = np.percentile(values, PERCENTILES).tolist()
    return Summary(
        count=stream.count,
        total=stream.total,
        mean=mean,
        p50=middle,
        p95=high,
        p99=highest,
        baseline=stream.baseline,
        allowed=stream.allowed,
        evidence=stream.evidence,
    )
