"""The thread beside the searches: it looks at what they left, and checks some."""

import atexit
import logging
import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import truth
from ann.index import Index
from ann.metrics import metric
from ann.monitor.alerts import Alert
from ann.monitor.ledger import Ledger

Floats = NDArray[np.float64]
Truth = Callable[[NDArray[np.float32], int], tuple[ArrayLike, ArrayLike]]

INBOX = 16_384  # calls of search that may wait to be looked at
_MANY = 1024  # of them, and the watcher is woken
_AT_ONCE = 1024  # calls looked at between two checks
_TOGETHER = 8  # queries that are checked at once: few enough to leave BLAS alone
# That a call waits at most to be looked at. A search that meets the watcher at work
# waits for the interpreter: woken for each pick, at 1 %, it raised the 99th percentile
# of 23 us searches from 0.10 to 0.7 ms; now and then, to 0.15 ms.
_PATIENCE_S = 0.5
now_s = time.monotonic
_log = logging.getLogger("ann.monitor")


class Pick(NamedTuple):
    """A query to be checked, and its answer: copies."""

    q: NDArray[np.float32]
    ids: NDArray[np.int64]
    distances: NDArray[np.float32]


class Call(NamedTuple):
    """What is kept of one call of ``search``; single numbers for a single query."""

    norms: Any
    nearest: Any  #: distances; NaN with a filter
    picks: list[tuple[int, Pick]]  #: with their row


class Watcher:
    """Takes calls in, without waiting for anything, and looks at them in its own time.

    Parameters
    ----------
    index : Index
    ledger : Ledger
        Where the figures go.
    truth : callable or None
        See :class:`ann.Monitor`, also for what follows.
    budget, queue, on_alert, path, save_every_s
    """

    def __init__(
        self,
        index: Index,
        ledger: Ledger,
        truth: Truth | None,
        budget: float,
        queue: int,
        on_alert: Callable[[Alert], object] | None,
        path: str | os.PathLike[str] | None,
        save_every_s: float,
    ) -> None:
        self._index, self._ledger, self._truth = index, ledger, truth
        self._budget, self._queue, self._on_alert = budget, queue, on_alert
        self._path, self._save_every_s = path, save_every_s
        self._inbox: deque[Call] = deque()
        self._waiting: deque[tuple[int, Pick]] = deque()
        self._rested_at = 0.0  # when the next check may begin
        self._saved_at = now_s()
        self.closed = False
        self.make_locks()
        _watchers.add(self)

    def make_locks(self) -> None:
        """Begin without a thread, and with nothing locked."""
        self.lock = threading.RLock()  # of the ledger: held for moments
        self._working = threading.RLock()  # held by whoever empties the inbox
        self._counting = threading.Lock()  # of what a full inbox turns away
        self._thread: threading.Thread | None = None
        self._bell = threading.Event()

    # --- on the way of every query ----------------------------------------------------

    def has_room(self, n: int) -> bool:
        """Whether a call of ``n`` queries may be put in; else they count as unseen."""
        if len(self._inbox) < INBOX:
            return True
        with self._counting:
            self._ledger.counts["unseen"] += n
        return False

    def put(self, call: Call) -> None:
        """Take a call in."""
        self._inbox.append(call)
        if self._thread is None or len(self._inbox) > _MANY:
            self._wake()

    def _wake(self) -> None:
        with self._counting:
            if self._thread is None:
                arguments = weakref.ref(self), self._bell
                self._thread = threading.Thread(
                    target=_watch, args=arguments, name="ann-monitor", daemon=True
                )
                self._thread.start()
        self._bell.set()

    # --- beside it --------------------------------------------------------------------

    def work(self, everything: bool = False) -> None:
        """Look at all that waits; check what there is time for, or everything."""
        with self._working:
            while self._inbox or self._may_check(everything):
                self._announce(self._look())
                if self._may_check(everything):
                    self._announce(self._check())
                self._save_if_due()
            self._save_if_due()

    def pause_s(self) -> float:
        """Return how long there is nothing to do, unless the bell rings."""
        if not self._waiting:
            return _PATIENCE_S
        return min(_PATIENCE_S, max(0.0, self._rested_at - now_s()))

    def _may_check(self, everything: bool) -> bool:
        if everything:
            return bool(self._waiting)
        rested = now_s() >= self._rested_at
        return bool(self._waiting) and rested and not self.closed

    def _look(self) -> list[Alert]:
        """Take calls out of the inbox: norms and scores, and who is to be checked."""
        calls: list[Call] = []
        while self._inbox and len(calls) < _AT_ONCE:
            calls.append(self._inbox.popleft())
        if not calls:
            return []
        norms, nearest = list[float](), list[float]()
        with self.lock:
            counts, start = self._ledger.counts, self._ledger.queries
            for call in calls:
                for row, pick in call.picks:
                    counts["sampled"] += 1
                    if len(self._waiting) < self._queue:
                        self._waiting.append((start + len(norms) + row, pick))
                    else:
                        counts["dropped"] += 1
                if isinstance(call.norms, float):  # numpy would take longer for one
                    norms.append(call.norms)
                    nearest.append(call.nearest)
                else:
                    norms += call.norms.tolist()
                    nearest += call.nearest.tolist()
            best = scores(self._index.metric, np.array(nearest))
            return self._ledger.follow(np.array(norms), best)

    def _check(self) -> list[Alert]:
        """Compare a few queries with the truth."""
        width = len(self._waiting[0][1].ids)
        some: list[tuple[int, Pick]] = []
        while self._waiting and len(some) < _TOGETHER:
            if len(self._waiting[0][1].ids) != width:
                break
            some.append(self._waiting.popleft())
        parts = zip(*(pick for _, pick in some), strict=True)
        picks = Pick(*(np.array(part) for part in parts))
        began, new = now_s(), []
        try:
            found = self.compared(picks, threads=1)
        except Exception:
            self.failed("a check failed")
            return []
        finally:
            ended = now_s()
            self._rested_at = ended + (ended - began) * (1 / self._budget - 1)
        with self.lock:
            for (query, _), recall, gap in zip(some, *found, strict=True):
                if math.isfinite(recall):
                    new += self._ledger.judge(float(recall), float(gap), query)
        return new

    def compared(self, answers: Pick, threads: int | None) -> tuple[Floats, Floats]:
        """Return the recall of answers (nq, k), and how much nearer the truth is."""
        q, ids, distances = answers
        k, size = ids.shape[1], metric(self._index.metric).least
        if self._truth is None:
            true_ids, true_distances = self._index.exact(q, k, threads=threads)
            shares = truth.recalls(ids, distances, true_ids, true_distances, size)
            return shares, truth.gaps(distances, true_distances)
        given = self._truth(q, k)
        true_ids = np.asarray(given[0], np.int64).reshape(len(q), -1)
        true_distances = np.asarray(given[1], np.float32).reshape(len(q), -1)
        shares = truth.recalls(ids, distances, true_ids, None, size)
        return shares, truth.gaps(distances, true_distances)

    def _announce(self, alerts: list[Alert]) -> None:
        for alert in alerts:
            _log.warning("%s", alert.sentence)
            if self._on_alert is None:
                continue
            try:
                self._on_alert(alert)
            except Exception:
                self.failed("on_alert failed")

    def failed(self, what: str) -> None:
        """Take note of the exception that is being handled."""
        _log.exception("%s; watching goes on", what)
        with self.lock:
            self._ledger.counts["errors"] += 1

    def _save_if_due(self) -> None:
        if now_s() - self._saved_at >= self._save_every_s:
            self._save()

    def _save(self) -> None:
        if self._path is None:
            return
        with self.lock:
            self._saved_at = now_s()
            self._ledger.save(self._path)

    def close(self) -> None:
        """Look at what waits, check no more, and save."""
        if self.closed:
            return
        self.closed = True
        self._bell.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        with self._working:
            self.work()
            with self.lock:
                self._ledger.counts["dropped"] += len(self._waiting)
                self._waiting.clear()
            self._save()

    def learn(self, norms: Floats, scores: Floats, recalls: Floats) -> None:
        """Take these as the baseline; see ``Ledger.learn``."""
        with self._working, self.lock:
            self._ledger.learn(norms, scores, recalls)

    def leave_file(self) -> None:
        """Write no more."""
        self._path = None


def scores(metric: str, distances: Floats) -> Floats:
    """Return distances as what is told of them: similarities where there are any."""
    if metric == "cosine":
        return 1.0 - distances
    return -distances if metric == "ip" else distances


def _watch(reference: "weakref.ref[Watcher]", bell: threading.Event) -> None:
    """Work whenever the bell rings, and now and then, until nobody is there."""
    while True:
        watcher = reference()
        if watcher is None or watcher.closed:
            return
        try:
            watcher.work()
        except Exception:  # the disk is full, …
            watcher.failed("watching failed")
        pause_s = watcher.pause_s()
        del watcher  # or it would stay while nobody else needs it
        bell.wait(pause_s)
        bell.clear()


_watchers: "weakref.WeakSet[Watcher]" = weakref.WeakSet()


def _close_all() -> None:
    for watcher in list(_watchers):
        watcher.close()


def _begin_anew() -> None:
    """Let a forked child, which has no such thread, make its own."""
    for watcher in list(_watchers):
        watcher.make_locks()
        watcher.leave_file()  # to the parent


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
