"""What people search for, and how well and how fast it has to be found."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Use:
    """One kind of search, and what is usually asked of it.

    Parameters
    ----------
    name : str
    recall : (float, float)
        Mean recall@10, from what will do to what more than that is hardly noticed.
    latency_ms : (float, float)
        Milliseconds that an answer may take, from comfortable to the most.
    purpose : str
        What it is for, in a sentence.
    """

    name: str
    recall: tuple[float, float]
    latency_ms: tuple[float, float]
    purpose: str


_USES = (
    Use(
        "rag", (0.90, 0.95), (50.0, 100.0),
        "Passages for a language model, which reads several and can do without one.",
    ),
    Use(
        "recommendation", (0.85, 0.90), (10.0, 30.0),
        "Items to suggest: another good one is as good, and the page is waiting.",
    ),
    Use(
        "image-similarity", (0.92, 0.97), (50.0, 200.0),
        "Pictures like this one: people look at them and see what is missing.",
    ),
    Use(
        "safety-critical", (0.99, 1.0), (200.0, 200.0),
        "Where a miss does harm: known faults, duplicates of what is forbidden.",
    ),
    Use(
        "re-ranking", (0.99, 1.0), (float("inf"), float("inf")),
        "Candidates for a better and slower judge, offline: no hurry at all.",
    ),
)  # fmt: skip

PRESETS: Mapping[str, Use] = MappingProxyType({use.name: use for use in _USES})
