"""What a monitor is asked to hold to."""

from dataclasses import dataclass
from typing import Any

from ann import validation
from ann.metrics import metric


@dataclass(frozen=True)
class Settings:
    """The rules of a monitor, checked; see :class:`ann.Monitor` for their meaning."""

    metric: str
    k: int = 10
    share: float = 0.01
    window: int = 1000
    baseline: float | None = None
    learn: int = 200
    drop: float = 0.03
    shift: float = 0.05
    run_length: float = 1e8

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            "metric": metric(self.metric).name,
            "k": validation.integer(self.k, "k", 1),
            "share": checked_share(self.share, "share"),
            "window": validation.integer(self.window, "window", 10, 1_000_000),
            "learn": validation.integer(self.learn, "learn", 20, 1_000_000),
            "drop": checked_share(self.drop, "drop"),
            "shift": checked_share(self.shift, "shift"),
            "run_length": validation.real(self.run_length, "run_length", 1e4),
        }
        if self.baseline is not None:
            checked["baseline"] = checked_share(self.baseline, "baseline")
        for name, value in checked.items():
            object.__setattr__(self, name, value)


def checked_share(value: Any, name: str) -> float:
    """Return ``value`` as a float in (0, 1]; ValueError otherwise."""
    number = validation.real(value, name, 0.0, 1.0)
    if number == 0.0:
        raise ValueError(f"{name} must be > 0, got 0")
    return number
