"""What an audit has to say: findings, and a recommendation."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SHOWN = 10  # rows or columns that a finding names at most


@dataclass(frozen=True)
class Finding:
    """Something that a user should know before building an index.

    Parameters
    ----------
    code : str            stable, such as ``zero-vectors``: see ``CODES``
    severity : str        ``error``: wrong answers, or a refusal; ``warning``: answers
        may suffer; ``note``: good to know
    where : str           ``X`` or ``queries``
    sentence : str        what was found, with the figures
    advice : str          what to do about it
    rule : str            what should hold, with its limit
    limit, value : float  of the rule, and what was measured
    count : int           rows or columns concerned
    rows, columns : tuple of int
        The first ten of them.
    """

    code: str
    severity: Severity
    where: str
    sentence: str
    advice: str
    rule: str
    limit: float
    value: float
    count: int = 0
    rows: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()


@dataclass(frozen=True)
class Recommendation:
    """What near should mean for these vectors.

    Parameters
    ----------
    metric : str          ``cosine``, ``l2`` or ``ip``
    normalise : bool      whether the rows are to be scaled to norm 1, queries too;
        ``metric="cosine"`` does it by itself
    reasons : tuple of str
        A sentence each, with the figure that it rests on.
    """

    metric: str
    normalise: bool
    reasons: tuple[str, ...]
