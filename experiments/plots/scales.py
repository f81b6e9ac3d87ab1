"""The axes: recall by its nines, everything else logarithmic; and their units."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from experiments.plots.placement import text_width

Format = Callable[[float], str]

# Labels of the recall axis; a tier is tried only where those before left room.
_NINES = range(1, 7)
RECALL_TICKS: Sequence[Sequence[float]] = (
    (*(1 - 10.0**-i for i in _NINES), 0.5, 0.95, 0.0),
    tuple(1 - j * 10.0**-i for i in _NINES for j in (2, 5)),
    tuple(1 - j * 10.0**-i for i in _NINES for j in (3, 7, 4, 8, 6, 9)),
)
LOG_TICKS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2, 3, 4, 5, 6, 8))
ENOUGH = 5  # labelled ticks
TIMES = (("µs", 1.0), ("ms", 1e3), ("s", 1e6))
BYTES = (("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9))


class RecallAxis:
    """The x axis of recall: -log10(1 - recall), so that every nine is equally wide.

    A recall of 1 would stand at infinity; it has a slot of its own, after a break.

    Parameters
    ----------
    recalls : all that will stand on the axis
    resolution : the step of a mean over nq queries of recall@k, 1 / (nq * k); a recall
        is 1 when it is less than half a step away from it
    """

    def __init__(self, recalls: Iterable[float], resolution: float) -> None:
        recalls = list(recalls)
        self._one = 1 - resolution / 2
        inner = [-math.log10(1 - r) for r in recalls if r < self._one]
        self.has_slot = len(inner) < len(recalls)
        top, low = max(inner, default=2.0), min(inner, default=0.85)
        if top - low < 0.8:  # from .5 to .92, say: a lone point needs surroundings
            low = max(0.0, top - 0.8)
            top = max(top, low + 0.8)
        gap = max(0.2, 0.13 * (top - low))
        self.slot, self.break_at = top + gap, top + 0.5 * gap
        self.low = low - 0.05 * (top - low)
        self.high = top + gap * (1.45 if self.has_slot else 0.45)

    def __call__(self, recall: float) -> float:
        """Return the position of a recall on the axis."""
        return self.slot if recall >= self._one else -math.log10(1 - recall)

    def ticks(self, width: float, size: float) -> list[tuple[float, str]]:
        """Return positions and labels of the ticks that fit.

        Parameters
        ----------
        width : of the axis, in inches
        size : of the labels, in points
        """
        end = self.break_at if self.has_slot else self.high
        kept = [(self.slot, "1.0")] if self.has_slot else []
        for tier in RECALL_TICKS:
            if len(kept) >= ENOUGH:
                break
            for recall in tier:
                at, label = -math.log10(1 - recall), f"{recall:.8g}".lstrip("0") or "0"
                clear = all(
                    abs(at - other) / (self.high - self.low) * width
                    > text_width(label + neighbour, size) / 2 + 0.06
                    for other, neighbour in kept
                )
                if self.low <= at <= end and clear:
                    kept.append((at, label))
        return sorted(kept)


def log_ticks(low: float, high: float, most: int = 9) -> list[float]:
    """Return round ticks of a log axis: five or more where ``most`` allows it."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for pattern in LOG_TICKS:
        steps = (m * 10.0**decade for decade in decades for m in pattern)
        finer = [step for step in steps if low <= step <= high]
        if ticks and len(finer) > most:
            break
        ticks = finer
        if len(ticks) >= ENOUGH:
            break
    return ticks[:: math.ceil(len(ticks) / most) or 1]


def log_limits(values: Iterable[float], pad: float = 0.07) -> tuple[float, float]:
    """Return limits around positive values, at least a factor of four apart."""
    logs = [math.log10(value) for value in values]
    low, high = min(logs), max(logs)
    missing = max(0.0, math.log10(4) - (high - low)) / 2
    margin = missing + pad * max(high - low, 0.6)
    return 10.0 ** (low - margin), 10.0 ** (high + margin)


def format_us(us: float) -> str:
    """Write a round time, for a tick: 80 µs, 2.5 ms, 1 s."""
    return _scaled(us, TIMES, ".3g")


def measured_us(us: float) -> str:
    """Write a measured time, always with three digits: 80.0 µs, 2.50 ms."""
    return _scaled(us, TIMES, "#.3g").replace(". ", " ")


def format_bytes(value: float) -> str:
    """Write a number of bytes: 96 B, 1.5 kB, 2 MB."""
    return _scaled(value, BYTES, ".3g")


def format_count(value: float) -> str:
    """Write a count with its thousands apart: 12,000."""
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def format_s(seconds: float) -> str:
    """Write the time of a build: 0 s, 0.08 s, 12.3 s, 4 min 05 s."""
    if seconds == 0:
        return "0 s"
    if seconds < 99.95:
        return f"{seconds:.1f} s" if seconds >= 9.995 else f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:,} min {rest:02d} s"


def _scaled(value: float, units: Iterable[tuple[str, float]], form: str) -> str:
    """Write a value in the first unit that keeps it below 1000."""
    text = ""
    for unit, scale in units:
        text = f"{value / scale:{form}} {unit}"
        if value < 999.5 * scale:
            return text
    return text
