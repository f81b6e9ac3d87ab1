"""What a lesson is asked for, and what it says of the data that it used."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.lessons.sets import Set
    from experiments.progress import Progress

FULL = 20_000  # rows of a set


@dataclass(frozen=True)
class Notebook:
    """The wishes of whoever asked, and a list of sets.

    Parameters
    ----------
    n : int or None  rows of a set, at most; by default `FULL`, or what a part says
    seed : int       of all that is drawn
    threads : int    of exact search and of builds
    progress : Progress
    """

    n: int | None
    seed: int
    threads: int
    progress: Progress
    used: list[dict[str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows of a set, at most."""
        return self.n or FULL

    def use(self, found: Set) -> Set:
        """Write down which vectors these are, and return them."""
        self.progress.doing(found.name)
        digest = hashlib.sha256(found.X.tobytes() + found.Q.tobytes()).hexdigest()
        rows = f"{len(found.X)} and {len(found.Q)} queries"
        about = {"name": found.name, "source": found.source, "rows": rows}
        entry = about | {"sha256": digest}
        if entry not in self.used:
            self.used.append(entry)
        return found

    def leave_out(self, what: str) -> None:
        """Say, once, what could not be had."""
        if what not in self.left_out:
            self.left_out.append(what)
            self.progress.print(f"left out: {what}")
