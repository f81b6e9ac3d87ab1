"""Numbers that every query has, beside those that they were learnt from."""

import math
from collections import deque
from typing import Any, NamedTuple

import numpy as np

from ann.monitor.evidence import ONE_SIDED_99, Detector, Floats, wilson
from ann.monitor.settings import Settings

LEARNT = 1000  # queries whose norms and scores are the baseline
FEWEST = 100  # that may be, where they are given
PIECE = 256  # queries after which evidence is looked at
# What is learnt is but a sample. The mean rank of new values among N learnt ones is
# then the mean of N uniform numbers: within sqrt(ln(2 / DELTA) / (6 N)) of a half but
# with probability DELTA (a uniform number is strictly sub-Gaussian, of variance 1/12).
_DELTA = 1e-3
_LASTING = 10  # an alert stands for so many times the queries that it took
_NULL = 0.999  # the most that a mean can be watched to exceed


class Move(NamedTuple):
    """A change for which there is enough evidence."""

    baseline: float  #: the mean that was learnt
    value: float  #: the mean since
    size: int  #: values since

    @property
    def by(self) -> float:
        """How far the mean has moved."""
        return self.value - self.baseline


class Alarm:
    """Whether an alert stands: until it has long had no new reason."""

    def __init__(self) -> None:
        self.active, self._took, self._quiet = False, 0, 0

    def ring(self, took: int) -> bool:
        """Take note of a reason; return whether that is news."""
        new, self.active = not self.active, True
        self._took, self._quiet = max(took, self._took), 0
        return new

    def wait(self, n: int) -> None:
        """Take note of ``n`` values without one."""
        self._quiet += n
        if self._quiet > _LASTING * self._took:
            self.active, self._took = False, 0

    def saved(self) -> list[int]:
        """Return what ``restore`` takes."""
        return [int(self.active), self._took, self._quiet]

    def restore(self, saved: list[int]) -> None:
        """Go on where another was."""
        active, self._took, self._quiet = (int(value) for value in saved)
        self.active = bool(active)


class Stream:
    """Norms, or top-1 scores: learnt first, then held against what was learnt.

    A value counts by its rank among those learnt, after it was moved half the allowed
    shift towards them: so neither outliers nor rounding are evidence of a change, and
    nothing is assumed of the distribution. A wide one hides more: all values have to
    move by half the shift and about an eighth of their standard deviation, with 1,000
    that were learnt, until ranks show it.

    Parameters
    ----------
    settings : Settings
    absolute : bool
        Whether ``shift`` is in the numbers' own unit; else it is a share of the mean
        of their absolute values.
    """

    def __init__(self, settings: Settings, absolute: bool) -> None:
        self._settings, self._absolute = settings, absolute
        self.recent: deque[float] = deque(maxlen=settings.window)
        self.count, self.total = 0, 0.0
        self.learn(np.empty(0))

    def learn(self, values: Floats) -> None:
        """Hold what comes against these; where they are none, learn from what comes.

        Of more than ``LEARNT``, every second, every third, …: they may be in order.
        """
        step = max(1, -(-len(values) // LEARNT))
        self.learnt, self._waiting = np.sort(values[::step]), list[float]()
        self.alarm, self.allowed = Alarm(), math.nan
        self._detectors: list[Detector] = []  # of a rise, and of a fall
        if not len(self.learnt):
            return
        size = 1.0 if self._absolute else float(np.abs(self.learnt).mean())
        self.allowed = self._settings.shift * (size or 1.0)
        null = 0.5 + math.sqrt(math.log(2 / _DELTA) / (6 * len(self.learnt)))
        length = self._settings.run_length
        self._detectors = [Detector(null, length), Detector(null, length)]

    @property
    def baseline(self) -> float:
        """The mean of what was learnt; NaN before."""
        return float(self.learnt.mean()) if len(self.learnt) else math.nan

    @property
    def evidence(self) -> float:
        """Of a change either way, from 0 to 1."""
        return max((each.evidence for each in self._detectors), default=0.0)

    def take(self, values: Floats) -> Move | None:
        """Take the values of a few queries; return the change if there surely is one.

        What is not finite, of queries that found nothing, is left out.
        """
        values = values[np.isfinite(values)]
        self.count += len(values)
        self.total += float(values.sum())
        self.recent.extend(values.tolist())
        if not len(self.learnt):
            room = LEARNT - len(self._waiting)
            self._waiting += values[:room].tolist()
            if len(self._waiting) < LEARNT:
                return None
            self.learn(np.array(self._waiting))
            values = values[room:]
        if not len(values):
            return None
        self.alarm.wait(len(values))
        return self._moved(values)

    def _moved(self, values: Floats) -> Move | None:
        learnt, n = self.learnt, len(self.learnt)
        above = np.searchsorted(learnt, values - self.allowed / 2, "left") / n
        below = 1 - np.searchsorted(learnt, values + self.allowed / 2, "right") / n
        for detector, ranks in zip(self._detectors, (above, below), strict=True):
            segment = detector.take(ranks, values)
            if segment is not None:
                move = Move(self.baseline, segment.mean, segment.size)
                if abs(move.by) >= self.allowed:
                    return move
        return None

    def saved(self) -> dict[str, Any]:
        """Return what ``restore`` takes, as plain values."""
        return {
            "learnt": _short(self.learnt),
            "waiting": _short(self._waiting),
            "recent": _short(self.recent),
            "count": self.count,
            "total": self.total,
            "alarm": self.alarm.saved(),
            "detectors": [each.saved() for each in self._detectors],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on where another stream was."""
        self.learn(np.array(saved["learnt"], float))
        self._waiting = [float(value) for value in saved["waiting"]]
        self.recent.extend(float(value) for value in saved["recent"])
        self.count, self.total = int(saved["count"]), float(saved["total"])
        self.alarm.restore(saved["alarm"])
        for each, state in zip(self._detectors, saved["detectors"], strict=True):
            each.restore(state)


class Recall:
    """The recall of checked queries: learnt or given first, then watched for a fall."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.recent: deque[float] = deque(maxlen=settings.window)
        self.count = 0
        self.baseline = math.nan
        self.alarm = Alarm()
        self._waiting: list[float] = []
        self._fall: Detector | None = None
        if settings.baseline is not None:
            self._watch(settings.baseline, 0.0)

    def learn(self, values: Floats) -> None:
        """As ``Stream.learn``; a baseline that was given stays."""
        if self._settings.baseline is not None:
            return
        self.alarm, self._waiting, self._fall = Alarm(), [], None
        self.baseline = math.nan
        if len(values):
            mean = float(values.mean())
            low, _ = wilson(values, self._settings.k, ONE_SIDED_99)
            self._watch(mean, mean - low)

    def _watch(self, baseline: float, error: float) -> None:
        """Look for a fall by more than the baseline's error, and half the drop."""
        self.baseline = baseline
        loss = 1 - baseline + max(error, self._settings.drop / 2)
        checked = self._settings.run_length * self._settings.share
        self._fall = Detector(min(loss, _NULL), max(checked, 100.0))

    @property
    def evidence(self) -> float:
        """Of a fall, from 0 to 1."""
        return 0.0 if self._fall is None else self._fall.evidence

    def take(self, value: float) -> Move | None:
        """Take one query's recall; return the fall if there surely is one."""
        self.count += 1
        self.recent.append(value)
        if self._fall is None:
            self._waiting.append(value)
            if len(self._waiting) == self._settings.learn:
                self.learn(np.array(self._waiting))
            return None
        self.alarm.wait(1)
        told = np.array([value])
        segment = self._fall.take(1 - told, told)
        if segment is None or segment.mean > self.baseline - self._settings.drop:
            return None
        return Move(self.baseline, segment.mean, segment.size)

    def saved(self) -> dict[str, Any]:
        """Return what ``restore`` takes, as plain values."""
        fall = self._fall
        return {
            "recent": _short(self.recent),
            "waiting": _short(self._waiting),
            "count": self.count,
            "baseline": None if fall is None else self.baseline,
            "null": None if fall is None else fall.null,
            "fall": None if fall is None else fall.saved(),
            "alarm": self.alarm.saved(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on where another was; a baseline that is given now wins."""
        self.recent.extend(float(value) for value in saved["recent"])
        self.count = int(saved["count"])
        if self._settings.baseline not in (None, saved["baseline"]):
            return
        self._waiting = [float(value) for value in saved["waiting"]]
        self.alarm.restore(saved["alarm"])
        if saved["fall"] is not None:
            baseline, null = float(saved["baseline"]), float(saved["null"])
            self._watch(baseline, null - (1 - baseline))
            if self._fall is not None:
                self._fall.restore(saved["fall"])


def _short(values: Any) -> list[float]:
    """Return numbers with as many digits as they are worth in a file."""
    return [float(f"{value:.7g}") for value in values]
