"""An index at work, with somebody who looks over its shoulder."""

import math
import os
import random
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import validation
from ann.index import Index
from ann.monitor import exposition
from ann.monitor.alerts import Alert
from ann.monitor.ledger import Ledger, Report
from ann.monitor.settings import Settings, checked_share
from ann.monitor.watcher import Call, Pick, Truth, Watcher, scores

if TYPE_CHECKING:
    from ann.monitor.serving import Server

Answer = tuple[NDArray[np.int64], NDArray[np.float32]]


class Monitor:
    """Searches an index and notices when its answers, or its queries, go bad.

    ``search`` hands on the index's answer untouched. Of every query its norm and the
    score of its best answer are followed; a random ``share`` is searched for exactly,
    on a thread of the monitor's own, which gives the recall. An alert is raised where

    - the mean norm of the queries moves by more than ``shift``, a share of it;
    - the mean top-1 score moves by more than ``shift`` (a share of it, except under
      ``cosine``);
    - mean recall@k falls by more than ``drop``,

    and there is evidence that chance would give once in ``run_length`` queries at most
    (see :mod:`ann.monitor.evidence`). It says whether the queries are out of
    distribution or the index is at fault.

    Parameters
    ----------
    index : Index
    share : float
        Of the queries that are checked, in (0, 1].
    k : int
        Recall is that of the ``k`` nearest; of fewer where ``search`` asks for fewer.
    window : int
        Checked queries, and queries, that the rolling figures are of.
    baseline : float, optional
        The recall to hold to; by default the mean of the first ``learn`` checked
        queries, or of ``Monitor.learn``.
    learn : int
        Checked queries that the baseline is learnt from. Norms and scores are learnt
        from the first 1,000 queries.
    drop, shift : float
        How far recall may fall, and norms and scores may move.
    run_length : float
        Clean queries between two false alarms of a rule, on average and at least.
    truth : callable, optional
        Called as ``truth(Q, k)`` with (nq, d) float32; returns ids and distances
        (nq, k). By default ``index.exact``. Where the index keeps codes only, that is
        exact search over codes, and does not see what the codes have lost: give the
        ``exact`` of an ``ann.Flat`` that holds the vectors to have that count too.
    budget : float
        Of a core, that checks may take; in (0, 1]. What it does not suffice for is
        dropped, and counted.
    queue : int
        Queries that may wait to be checked.
    on_alert : callable, optional
        Called with each new ``Alert``, on the monitor's thread. All alerts go to the
        logger ``ann.monitor`` too.
    path : path-like, optional
        A file that keeps what was learnt and seen: read now if it is there, written
        every ``save_every_s`` and by ``close``. One path is for one monitor.
    save_every_s : float
    name : str
        What metrics call it.
    seed : int
        Of the choice of queries.

    Raises
    ------
    ValueError
        A parameter out of range; a file of something else, or of another metric or k.

    Notes
    -----
    Filtered searches are counted, and their norms followed, but their answers are not
    judged. What is added or removed in the moment between an answer and its check
    counts against, or for, the answer. A forked child goes on without ``path``.

    Examples
    --------
    >>> with ann.Monitor(index, path="index.watch.json", on_alert=page_me) as monitor:
    ...     ids, distances = monitor.search(q, k=10, ef_search=64)
    """

    def __init__(
        self,
        index: Index,
        *,
        share: float = 0.01,
        k: int = 10,
        window: int = 1000,
        baseline: float | None = None,
        learn: int = 200,
        drop: float = 0.03,
        shift: float = 0.05,
        run_length: float = 1e8,
        truth: Truth | None = None,
        budget: float = 0.1,
        queue: int = 256,
        on_alert: Callable[[Alert], object] | None = None,
        path: str | os.PathLike[str] | None = None,
        save_every_s: float = 10.0,
        name: str = "",
        seed: int = 0,
    ) -> None:
        if not isinstance(index, Index):
            raise ValueError(f"index must be an ann.Index, got {type(index).__name__}")
        for given, what in ((truth, "truth"), (on_alert, "on_alert")):
            if given is not None and not callable(given):
                raise ValueError(f"{what} must be a function, got {given!r}")
        self._index, self.name = index, name
        self._settings = Settings(
            index.metric, k, share, window, baseline, learn, drop, shift, run_length
        )
        self._ledger = Ledger(self._settings)
        if path is not None and os.path.exists(path):
            self._ledger.restore(path)
        self._watcher = Watcher(
            index,
            self._ledger,
            truth,
            checked_share(budget, "budget"),
            validation.integer(queue, "queue", 1),
            on_alert,
            path,
            validation.real(save_every_s, "save_every_s", 0.0),
        )
        # Gaps between picks are geometric, so that each query is picked by itself.
        share = self._settings.share
        self._gap_scale = 1 / math.log1p(-share) if share < 1 else 0.0
        self._random = random.Random(validation.integer(seed, "seed", 0)).random

    # --- on the way of every query ----------------------------------------------------

    def search(self, Q: ArrayLike, k: int = 10, **effort: Any) -> Answer:
        """Return what ``index.search`` does, and take note of it.

        Parameters
        ----------
        Q, k, **effort
            As of the index.
        """
        answer = self._index.search(Q, k, **effort)
        if not self._watcher.closed:
            self._note(Q, answer, effort.get("filter") is not None)
        return answer

    def _note(self, Q: ArrayLike, answer: Answer, filtered: bool) -> None:
        """Keep of a call what is looked at later, in copies: the caller may change all.

        Of nothing here may a search have to wait.
        """
        queries, (_, distances) = np.asarray(Q, np.float32), answer
        n = 1 if queries.ndim == 1 else len(queries)
        if not self._watcher.has_room(n):
            return
        rows = [] if filtered else self._picks(n)
        picks = [(row, self._pick(row, queries, answer)) for row in rows]
        norms: Any
        nearest: Any
        if queries.ndim == 1:
            norms = math.sqrt(queries.dot(queries))
            nearest = math.nan if filtered else float(distances[0])
        else:
            norms = _norms(queries)
            nearest = distances[:, 0] * (math.nan if filtered else 1)
        self._watcher.put(Call(norms, nearest, picks))

    def _pick(self, row: int, Q: NDArray[np.float32], answer: Answer) -> Pick:
        (ids, distances), k = answer, self._settings.k
        if Q.ndim > 1:
            Q, ids, distances = Q[row], ids[row], distances[row]
        return Pick(Q.copy(), ids[:k].copy(), distances[:k].copy())

    def _picks(self, n: int) -> list[int]:
        """Return which of ``n`` queries are to be checked."""
        picks, at = [], self._gap()
        while at < n:
            picks.append(at)
            at += 1 + self._gap()
        return picks

    def _gap(self) -> int:
        return int(math.log(1.0 - self._random()) * self._gap_scale)

    # --- what users see ---------------------------------------------------------------

    def learn(self, Q: ArrayLike | None = None, **effort: Any) -> Self:
        """Learn anew what is normal: from queries, or from those that come next.

        Parameters
        ----------
        Q : (nq, d) array, optional
            At least 100 queries such as are to come; the more the better. They are
            searched for, and checked, now.
        **effort
            What ``search`` is going to be called with.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As ``search``; fewer than 100 queries.
        """
        nothing = np.empty(0)
        norms, nearest, recalls = nothing, nothing, nothing
        if Q is not None:
            queries = validation.vectors(Q, "Q", self._index.d)
            answer = self._index.search(queries, self._settings.k, **effort)
            recalls, _ = self._watcher.compared(Pick(queries, *answer), threads=None)
            norms = _norms(queries).astype(float)
            best = answer[1][:, 0].astype(float)
            nearest = scores(self._index.metric, best)
            recalls = recalls[np.isfinite(recalls)]
        self._watcher.learn(norms, nearest, recalls)
        return self

    def flush(self) -> Self:
        """Look at, and check, everything that waits; return when it is done."""
        self._watcher.work(everything=True)
        return self

    @property
    def index(self) -> Index:
        """The index that is watched."""
        return self._index

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """The last hundred alerts, oldest first."""
        with self._watcher.lock:
            return tuple(self._ledger.alerts)

    def report(self) -> Report:
        """Return how things are."""
        with self._watcher.lock:
            return self._ledger.report()

    def metrics(self) -> str:
        """Return the figures in Prometheus' text format, version 0.0.4."""
        return exposition.text([(self.name, self.report())])

    def serve(self, port: int = 9464) -> "Server":
        """Serve ``/metrics`` and a page that shows them, on 127.0.0.1.

        Parameters
        ----------
        port : int
            0 takes any that is free; see ``Server.url``.

        Returns
        -------
        Server
            Close it, or use it in a ``with`` block.

        Raises
        ------
        OSError
            The port is taken.
        """
        from ann.monitor.serving import Server

        return Server([self], port)

    def close(self) -> None:
        """End watching: look at what waits, but check no more; save the state.

        ``search`` goes on to answer.
        """
        self._watcher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        report = self.report()
        state = ", ".join(report.standing) or "no alert"
        return f"Monitor({self._index!r}) <queries={report.queries}, {state}>"


def _norms(Q: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the norms of queries as the search saw them, in any layout."""
    squares: NDArray[np.float32] = np.einsum("ij,ij->i", Q, Q)
    return np.sqrt(squares)
