"""Indexes are built, and the queries that choose pick one.

On each index every ladder of settings is climbed until the recall of the choosing
queries makes it likely that those held out will be convinced, too. Latency is compared
there: at equal recall. Nothing that is seen here is a promise; :mod:`ann.tuning.
verdict` makes one, on other queries.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ann.flat import Flat
from ann.index import Index
from ann.tuning import betting
from ann.tuning.bench import Floats, Latency, Stopwatch, Truth, in_turns
from ann.tuning.candidates import EXACT, Candidate, Ladder, Setting, around, first
from ann.tuning.wish import Wish

STRIDE = 6  # rungs, or 1.8 times the effort
_TIMED = 400  # queries that latency is measured with, so many that there is a p99
_QUICK, _ROUNDS = 3, 31  # of latency: for a first look, and for a choice
_FINALISTS = 5
_BEHIND = 1.5  # times the best latency: too slow for another look
_PROGRESS, _IDLE = 0.02, 2  # share of what is missing; strides that close no more
_REFINEMENTS = 2  # times that neighbours of the best are tried
CHOSEN, BEHIND, SHORT = "chosen", "behind", "falls short in recall"
_UNKNOWN = Latency(math.nan, math.nan, math.nan, 0)


@dataclass(eq=False)
class Entry:
    """A candidate, what was measured of it, and what became of it.

    ``index`` is let go where it cannot win any more; ``rung`` is the setting on the
    ladder at which it was compared; ``recall`` is the mean over choosing queries.
    """

    candidate: Candidate
    index: Index | None = None
    ladder: Ladder = ()
    rung: int = -1
    recall: float = math.nan
    latency: Latency = _UNKNOWN
    bytes_per_vector: float = math.nan
    build_s: float = math.nan
    fate: str = ""  # why it was not chosen; "" while it may be

    @property
    def setting(self) -> Setting:
        """The search parameters at which it was compared."""
        return self.ladder[self.rung] if self.rung >= 0 else {}

    def drop(self, why: str) -> None:
        """Take it out of the contest and give its memory back."""
        self.fate, self.index = why, None


class Contest:
    """Builds candidates within a budget and compares them.

    ``entries`` are all, in the order in which they were tried.

    Parameters
    ----------
    X : (n, d) float32
    truth : Truth    of the choosing queries
    judges : int     how many queries will have to be convinced
    """

    def __init__(
        self, X: Floats, exact: Flat, truth: Truth, judges: int, asked: Wish,
        watch: Stopwatch,
    ) -> None:  # fmt: skip
        self._X, self._exact, self._truth = X, exact, truth
        self._judges, self._asked, self._watch = judges, asked, watch
        self._timed = truth.Q[:_TIMED]
        self._costs: dict[str, float] = {}  # seconds of the last of each structure
        self.entries: list[Entry] = []

    @property
    def running(self) -> list[Entry]:
        """Those that may still win, the best first."""
        return sorted((e for e in self.entries if not e.fate), key=self.rank)

    def run(self) -> list[Entry]:
        """Try candidates, then neighbours of the best; return the best, best first."""
        self._try(first(self._asked, self._X.shape[1]))
        if self._asked.objective == "latency":
            for _ in range(_REFINEMENTS):
                if self.running:
                    self._try(around(self.running[0].candidate))
        return self._settled()

    def _try(self, candidates: Iterable[Candidate]) -> None:
        known = {entry.candidate for entry in self.entries}
        for candidate in candidates:
            if candidate in known:
                continue
            why = self._hopeless(candidate)
            if why:
                self.entries.append(Entry(candidate, fate=why))
            else:
                self.entries += self._tried(candidate)
                self._thin()

    def _hopeless(self, candidate: Candidate) -> str:
        """Return why it is not worth building, if it is not."""
        least, most = candidate.least_bytes(self._X.shape[1]), self._asked.most_bytes
        if least > most:
            return f"takes {least:,.0f} bytes a vector or more"
        small = self._asked.objective == "memory" and self.running
        if small and least > small[0].bytes_per_vector:
            return f"larger, {least:,.0f} bytes a vector or more"
        # A structure that was not built yet may take whatever it takes: one such build
        # is all that a budget can be exceeded by. Exact search is there already.
        cost = self._costs.get(candidate.structure, 0.0)
        if candidate == EXACT or self._watch.leaves(cost):
            return ""
        return "not tried: the budget was used up"

    def _tried(self, candidate: Candidate) -> Iterator[Entry]:
        """Build a candidate and climb its ladders; yield an entry for each."""
        begin_s = self._watch.elapsed_s
        try:
            index = self._built(candidate)
        except ValueError as error:
            yield Entry(candidate, fate=f"cannot be: {error}")
            return
        build_s = self._watch.elapsed_s - begin_s
        (n, _), asked = self._X.shape, self._asked
        for ladder in candidate.ladders(n, asked.k, asked.metric):
            entry = Entry(candidate, index, ladder, build_s=build_s)
            entry.bytes_per_vector = index.nbytes / n
            if self._climb(index, entry):
                [entry.latency] = self._timed_now([entry], _QUICK)
                if excess := self.excess(entry):
                    entry.drop(excess)
            else:
                entry.drop(SHORT)
            yield entry
            if entry.fate == SHORT:
                break  # another way to walk there ends at the same place
        self._costs[candidate.structure] = self._watch.elapsed_s - begin_s

    def _built(self, candidate: Candidate) -> Index:
        if candidate == EXACT:
            return self._exact
        n, d = self._X.shape
        index = candidate.make(self._asked.metric, n, d, self._asked.seed)
        return index.add(self._X, threads=self._asked.threads)

    def _climb(self, index: Index, entry: Entry) -> bool:
        """Go to the lowest rung that should convince; say whether there is one.

        It goes up in strides, and back down within the last by bisection. It gives up
        where codes have lost what no effort brings back.
        """
        last, below, above, idle, before = len(entry.ladder) - 1, -1, 0, 0, 0.0
        while not self._convincing(index, entry, above):
            gained = entry.recall - before
            idle = 0 if gained > _PROGRESS * (1 - before) else idle + 1
            if above == last or idle == _IDLE:
                return False
            below, above, before = above, min(last, above + STRIDE), entry.recall
        while above - below > 1:
            middle = (below + above) // 2
            if self._convincing(index, entry, middle):
                above = middle
            else:
                below = middle
        return self._convincing(index, entry, above)

    def _convincing(self, index: Index, entry: Entry, rung: int) -> bool:
        """Put an entry on a rung, and say whether its recall there should do."""
        values, asked = self._truth.recall(index, entry.ladder[rung]), self._asked
        entry.rung, entry.recall = rung, float(values.mean())
        if entry.candidate == EXACT:  # which needs to convince nobody
            return True
        return betting.promising(values, asked.target, self._judges, asked.confidence)

    def _timed_now(self, entries: Sequence[Entry], rounds: int) -> list[Latency]:
        pairs = [(e.index, e.setting) for e in entries if e.index is not None]
        return in_turns(pairs, self._timed, self._asked.k, rounds)

    def excess(self, entry: Entry) -> str:
        """Return what an entry takes more of than is allowed, if it does."""
        latency = entry.latency
        tail, odds = latency.p99_us, 100
        if math.isnan(tail):
            tail, odds = latency.p50_us, 2
        if entry.bytes_per_vector > self._asked.most_bytes:
            return f"takes {entry.bytes_per_vector:,.0f} bytes a vector"
        if tail > self._asked.most_us:
            return f"1 query in {odds} takes {tail / 1e3:,.3g} ms or more"
        return ""

    def rank(self, entry: Entry) -> tuple[float, float]:
        """Return what is to be least: bytes or latency; ties by latency."""
        us = entry.latency.undisturbed_us
        small = self._asked.objective == "memory"
        return (entry.bytes_per_vector if small else us), us

    def _thin(self) -> None:
        """Drop those that are clearly behind, so that few indexes stay in memory."""
        running = self.running
        for place, entry in enumerate(running):
            if place >= _FINALISTS or self._behind(entry, running[0]) > _BEHIND:
                entry.drop(BEHIND)

    def _settled(self) -> list[Entry]:
        """Compare what is left with care; return it, the best first."""
        left = self.running
        for entry, latency in zip(left, self._timed_now(left, _ROUNDS), strict=True):
            entry.latency = latency
        return sorted(left, key=self.rank)

    def fallback(self) -> Entry | None:
        """Return exact search, which needs no proof; None beyond the limits."""
        [place] = [i for i, e in enumerate(self.entries) if e.candidate == EXACT]
        entry = self.entries[place]
        if math.isnan(entry.recall):  # too large to be worth a look, until now
            [entry] = self._tried(EXACT)
            self.entries[place] = entry
        if self.excess(entry):
            return None
        entry.index, entry.fate = self._exact, ""
        return entry

    def concluded(self, chosen: Entry, setting: Setting, recall: float) -> list[Entry]:
        """Say of all what became of them; return the chosen one, and then the others.

        Its latency is taken once more, at the setting that is returned and in turns
        with the best of the others.
        """
        chosen.rung, chosen.recall = chosen.ladder.index(setting), recall
        others = [entry for entry in self.running if entry is not chosen]
        last = [chosen, *others[:1]]
        for entry, latency in zip(last, self._timed_now(last, _ROUNDS), strict=True):
            entry.latency = latency
        chosen.fate = CHOSEN
        for entry in self.entries:
            if entry.fate in ("", BEHIND):
                entry.drop(self._loss(entry, chosen))
        rest = [entry for entry in self.entries if entry is not chosen]
        return [chosen, *sorted(rest, key=self._order)]

    def _loss(self, entry: Entry, chosen: Entry) -> str:
        what = "bytes" if self._asked.objective == "memory" else "time"
        times = self._behind(entry, chosen)
        return f"{times:.2f} times the {what}" if times >= 1.005 else "as good"

    def _order(self, entry: Entry) -> tuple[float, float]:
        """Put those that were not compared behind the others."""
        return (math.inf, 0.0) if math.isnan(entry.latency.p50_us) else self.rank(entry)

    def _behind(self, entry: Entry, best: Entry) -> float:
        return self.rank(entry)[0] / self.rank(best)[0]
