"""The Index contract: what every structure shares, once.

What users see of an index, but for ``search``: its changes, each published in one step
while others search, its copies and its files. How it answers is in
:mod:`ann.searching`, how a change is made in :mod:`ann.changing`.
"""

import copy
import os
import threading
import weakref
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import canary, guard, halves, parallel, storage, validation
from ann._version import __version__
from ann.canary import Canary
from ann.changing import Changing, Progress
from ann.codecs import Codec, Float32
from ann.fit import restored as restored_fit
from ann.guard import Norms
from ann.health import Health
from ann.metrics import metric as metric_named
from ann.metrics import row_norms
from ann.names import Names
from ann.state import Contents
from ann.storage import StorageError
from ann.stored import Stored
from ann.transforms import Transform


class Index(Changing):
    """What ``Flat``, ``IVF`` and ``HNSW`` have in common.

    Parameters
    ----------
    metric : str
        ``l2`` (``euclidean``), ``ip`` (``dot``, ``inner_product``), ``cosine``
        (``angular``) or ``l1`` (``manhattan``, ``cityblock``).
    codec : Codec, optional
        How vectors are stored and scored: ``ann.SQ``, ``ann.PQ``, ``ann.RaBitQ``;
        float32 by default. The index keeps a copy; one that is trained already stays
        as it is.
    refine : float, optional
        With a codec or a transform: keep the original vectors too, and score the best
        ``refine * k`` with them; at least 1. None keeps only what these make of them.
    norm_check : str
        What to do where vectors to be added, or queries, have norms unlike those that
        the index holds: "raise" an error, "warn" (:class:`ann.guard.NormWarning`) and
        go on, or take any ("off"). Where all that is held is normalised, these are
        norms outside of [0.98, 1.02], else norms above ten times the longest. Queries
        under ``ip`` are looked at in the first case only; under ``cosine``, which sees
        directions, nothing is.
    refine_dtype : str, optional
        What ``refine`` keeps vectors as: "float32" by default, or "float16", of half
        the memory, and right to a part in 2,000. Components must be within ±65,504;
        vectors that rounding moves by more than 0.2 % of their norms are refused, and
        by more than 0.2 % of their distances from their mean warned of.
    transform : Transform, optional
        What makes vectors narrower before they are indexed, and queries likewise:
        ``ann.PCA`` or ``ann.Truncate``; nothing by default. Distances are then those
        between the narrower vectors, but with ``refine`` between the vectors
        themselves. The index keeps a copy, which the first ``add`` trains.
    """

    _kind: ClassVar[str]  # what files call the structure

    def __init__(
        self,
        metric: str,
        codec: Codec | None,
        refine: float | None,
        norm_check: str = "warn",
        transform: Transform | None = None,
        refine_dtype: str | None = None,
    ) -> None:
        self._metric = metric_named(metric)
        if codec is not None and not isinstance(codec, Codec):
            raise ValueError(
                "codec must be an ann.PQ, an ann.SQ, an ann.RaBitQ or None, "
                f"got {codec!r}"
            )
        if transform is not None:
            if not isinstance(transform, Transform):
                raise ValueError(
                    "transform must be an ann.PCA, an ann.Truncate or None, got "
                    f"{transform!r}"
                )
            transform.check_metric(self._metric)
            transform = transform.copy()
        if refine is not None:
            if codec is None and transform is None:
                raise ValueError(
                    "refine needs a codec or a transform: float32 is exact, got "
                    f"{refine!r}"
                )
            refine = validation.real(refine, "refine", 1.0)
            refine = int(refine) if refine.is_integer() else refine
        codec = Float32() if codec is None else codec.copy()
        codec.check_metric(self._metric)
        self._refine, self._refine_dtype = refine, halves.checked(refine_dtype, refine)
        contents = Contents(codec, transform, guard.checked(norm_check))
        self._state = self._state_of(contents)
        self._check()
        self._writer = threading.RLock()  # held while the index is changed
        self._unverified: Callable[[], None] | None = None  # see ``ann.load``
        self._foreign = False  # from a file that nobody looked for faults in
        _indexes.add(self)

    # --- what a structure supplies ----------------------------------------------------

    def _check(self) -> None:
        """Raise ValueError where it cannot take the metric or the codec."""

    @abstractmethod
    def _arrays(self) -> list[NDArray[Any]]:
        """Return every array that the structure holds."""

    @abstractmethod
    def _audited(self) -> Iterator[str]:
        """Yield what is wrong with the structure."""

    def _faults(self) -> Iterator[str]:
        """Yield what no change could take: links that lead out of the arrays, …."""
        return iter(())

    @abstractmethod
    def _saved_held(self, held: Any, n: int) -> dict[str, NDArray[Any]]:
        """Return the arrays to be saved, of ``n`` positions."""

    @abstractmethod
    def _restored(self, stored: Stored, n: int, d: int) -> Any:
        """Return ``held`` of what was saved; raise StorageError if that cannot be.

        ``d`` is the width of what the structure holds.
        """

    @property
    @abstractmethod
    def _build_params(self) -> dict[str, Any]:
        """Constructor parameters beyond metric, codec, refine and transform."""

    # --- what users see ---------------------------------------------------------------

    @property
    def ntotal(self) -> int:
        """Number of vectors inside."""
        return self._state.names.count

    @property
    def d(self) -> int | None:
        """Width of the vectors; None before the first ``add``."""
        return self._d

    @property
    def metric(self) -> str:
        """Canonical name of the metric."""
        return self._metric.name

    @property
    def norms(self) -> Norms:
        """Statistics of the norms of all vectors taken in, removed ones included."""
        return self._norms

    @property
    def norm_check(self) -> str:
        """What to do where norms are strange: "raise", "warn" or "off"; may be set."""
        return self._norm_check

    @norm_check.setter
    def norm_check(self, how: str) -> None:
        with self._changing(sound=False) as draft:
            draft._publish(norm_check=guard.checked(how))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays that the index holds, the codec's included."""
        now = self._view()
        contents = now._state.contents
        held = [*now._arrays(), *contents.codec.arrays(), contents.originals]
        if contents.transform is not None:
            held += contents.transform.arrays()
        names = [contents.names.ids, contents.names.alive]
        return sum(array.nbytes for array in [*held, *names] if array is not None)

    @property
    def params(self) -> dict[str, Any]:
        """The parameters in force, as plain values."""
        codec = (
            None
            if isinstance(self._target_codec, Float32)
            else self._target_codec.params
        )
        transform = None if self._transform is None else self._transform.params
        shared = {"metric": self.metric, "codec": codec, "refine": self._refine}
        if self._refine_dtype != "float32":
            shared["refine_dtype"] = self._refine_dtype
        return {**shared, "transform": transform, **self._build_params}

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle holds: no machine code, no working memory.

        A copy shares the arrays, whose rows in use are never written to, and takes its
        own before it is changed; so does an index that comes from a pickle, whose
        arrays may lie in memory that others use or that cannot be written to.
        """
        self._require_sound()
        settings, state = self.__dict__.copy(), self._state
        del settings["_writer"], settings["_state"]
        contents = self._shared(state.contents.shared())
        return settings | {"contents": contents, "canary": state.canary}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what ``__getstate__`` returned."""
        settings = dict(state)
        contents, canary = settings.pop("contents"), settings.pop("canary")
        self.__dict__.update(settings, _writer=threading.RLock())
        self._state = self._state_of(contents)
        self._state.canary = canary
        _indexes.add(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return an independent copy, which shares what neither will write to."""
        return copy.copy(self)

    def __len__(self) -> int:
        return self.ntotal

    def __repr__(self) -> str:
        shown = {k: v for k, v in self.params.items() if v is not None}
        if "codec" in shown:
            shown["codec"] = self._target_codec
        if "transform" in shown:
            shown["transform"] = self._transform
        text = ", ".join(f"{k}={v!r}" for k, v in shown.items())
        name, size = type(self).__name__, f"ntotal={self.ntotal}, d={self.d}"
        return f"{name}({text}) <{size}, nbytes={self.nbytes}>"

    def add(
        self,
        X: ArrayLike,
        ids: ArrayLike | None = None,
        *,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Add vectors; the first call also trains what needs training.

        Parameters
        ----------
        X : (n, d) array
            Any real dtype and memory order; copied as float32.
        ids : (n,) array of int64, optional
            Your own names, unique and not negative; by default the order of arrival.
        threads : int, optional
            All cores by default. The result does not depend on it.
        progress : callable, optional
            Called as ``progress(done, n)`` now and then, in vectors. Whatever it raises
            ends the ``add`` as Ctrl-C does. It may search and save the index, which is
            as it was before, but not change it.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Wrong shape or width, a value that is not finite in float32, a zero vector
            under ``cosine`` (also one that a transform makes), a norm above 1e18 under
            the others, an id given twice; with ``norm_check="raise"`` a strange norm;
            what ``refine_dtype`` cannot keep. The index is then unchanged.

        Warns
        -----
        ann.NormWarning
            With ``norm_check="warn"``, where there are strange norms.
        ann.PrecisionWarning
            Rows that differ have become equal in float32 (looked for among 16,384 at
            most), or would be hard to tell apart in float16.

        Notes
        -----
        Searches may go on meanwhile; they find all of the new vectors when ``add`` is
        done, and none before. Other changes wait. An ``add`` that fails or is
        interrupted leaves the index as it was; only graphs may keep those vectors that
        are in their place already, and say how many in a note of the exception. Under
        ``l2`` the squares of differences below about 1e-19 vanish in float32.
        """
        with self._changing() as draft:
            broken_off = draft._add(X, ids, threads, progress)
        if broken_off is not None:
            raise broken_off
        return self

    def remove(self, ids: ArrayLike, *, threads: int | None = None) -> Self:
        """Remove vectors; the ids of the others stay.

        Parameters
        ----------
        ids : (m,) array of int64
        threads : int, optional
            All cores by default. The result does not depend on it.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Not integers, given twice, or not in the index, which is then unchanged.

        Notes
        -----
        Searches may go on meanwhile; those that begin later find none of these. A call
        takes time in proportion to the index, so remove many at once. ``Flat`` and
        ``IVF`` give their memory back at once, ``HNSW`` by ``compact``.
        """
        with self._changing() as draft:
            draft._remove(ids, threads)
        return self

    def update(
        self, ids: ArrayLike, X: ArrayLike, *, threads: int | None = None
    ) -> Self:
        """Replace vectors: ``remove`` and ``add`` under the same ids.

        Parameters
        ----------
        ids : (m,) array of int64
        X : (m, d) array
        threads : int, optional

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As ``remove`` and ``add``; the index is then unchanged.

        Notes
        -----
        A search meanwhile finds the old vectors or the new ones, all of them. Whatever
        ends the call early leaves the old ones.
        """
        with self._changing() as draft:
            given = validation.ids(ids, len(validation.vectors(X, "X", self._d)))
            draft._remove(given, threads)
            broken_off = draft._add(X, given, threads)
            if broken_off is not None:
                raise broken_off
        return self

    def compact(self, *, threads: int | None = None) -> Self:
        """Give back the memory of removed vectors; ids stay.

        Results stay too, up to ties. ``add`` does it by itself when a quarter
        of all positions is not in use any more.
        """
        workers = validation.threads(threads, parallel.available())
        with self._changing() as draft:
            draft._compact(workers)
        return self

    def retrain(
        self,
        ids: ArrayLike | None = None,
        X: ArrayLike | None = None,
        *,
        threads: int | None = None,
    ) -> Self:
        """Build the index anew, as if all that is inside had come in one ``add``.

        The codec, the transform and an ``IVF``'s lists learn from all vectors; for
        where those that came first are not like the others (:class:`ann.CodecWarning`).

        Parameters
        ----------
        ids : (m,) array of int64, optional
        X : (m, d) array, optional
            Vectors to take instead of what is kept of these: without ``refine`` an
            index has but their codes, and what is lost in these cannot be learned from.
        threads : int, optional
            All cores by default. The result does not depend on it.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As ``update``; ``ids`` without ``X`` or the reverse; an ``IVF`` of
            ``RaBitQ`` codes without ``refine``, which are not to be decoded.

        Notes
        -----
        It takes the time of an ``add`` of all vectors, and their memory once more.
        Searches may go on meanwhile. Whatever ends the call early leaves the index as
        it was. Without ``refine`` a transform stays as it is.
        """
        if (ids is None) != (X is None):
            absent, given = ("ids", "X") if ids is None else ("X", "ids")
            raise ValueError(f"{absent} must be given with {given}, got None")
        workers = validation.threads(threads, parallel.available())
        with self._changing() as draft:
            draft._retrain(ids, X, workers)
        return self

    def check(self) -> Health:
        """Look for what should not be: an audit of everything that a search relies on.

        Returns
        -------
        Health
            Its ``problems`` name damaged arrays of a mapped file; ids given twice;
            vectors that are in no list, or in several; links of a graph that lead
            nowhere, and vectors that no link leads to (but not under ``ip``, where
            some are nobody's answer); strange norms that were let in; known queries
            that do not find what they found when this was saved. It prints well.
        """
        with self._writer:
            state, problems = self._state, []
            try:
                self._require_sound()
            except StorageError as error:
                problems.append(str(error))
            ids = state.names.of_all[state.names.here]
            twice = len(ids) - len(np.unique(ids))
            if twice:
                problems.append(f"{twice} ids given to more than one vector")
            problems += self._audited()
            if strange := self._norms.strange:
                problems.append(f"{strange} vectors of strange norms were let in")
            fit = state.contents.fit
            problems += filter(None, [fit and fit.problem(), self._sung()])
            n = state.names.count
            return Health(tuple(problems), n, state.names.n - n)

    def repair(self, *, threads: int | None = None) -> Self:
        """Mend what ``check`` finds in a graph: bad links, and what is out of reach.

        Parameters
        ----------
        threads : int, optional
            All cores by default. The result does not depend on it.

        Raises
        ------
        StorageError
            The arrays of a mapped file are damaged: what they held is lost.
        """
        workers = validation.threads(threads, parallel.available())
        with self._writer:
            self._require_sound()
            with self._changing(sound=False) as draft:
                if draft._held is not None:
                    draft._own()
                    draft._repair(workers)
            self._foreign = False
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the index in one file, for ``ann.load``.

        Parameters
        ----------
        path : path-like
            A file; what was there is replaced when all is on the disk, and is
            there still if anything goes wrong.

        Raises
        ------
        OSError
            The disk is full, the folder cannot be written to, …

        Notes
        -----
        The format is described in docs/storage.md. Other changes wait, searches do not.
        """
        with self._writer:
            self._require_sound()
            self._state.canary = self._new_canary()
            storage.write(path, *self._saved())

    def _saved(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return what is in a file: manifest and arrays."""
        state, contents, names = self._state, self._state.contents, self._state.names
        d = self._d or self._codec.d or 0
        manifest = {
            "library": "ann",
            "version": __version__,
            "kind": self._kind,
            "params": self.params,
            "norm_check": self._norm_check,
            "d": d,
            "n": names.n,
            "arrived": names.arrived,
            "trained": bool(d) and self._target_codec.is_trained,
            "filled": state.held is not None,
        }
        arrays = self._target_codec.saved()
        if contents.fit is not None:
            arrays["codec_fit"] = contents.fit.saved()
        if self._norms.count:
            arrays["norm_statistics"] = self._norms.saved()
        if state.canary is not None:
            arrays |= state.canary.saved()
        if names.ids is not None:
            arrays["ids"] = names.ids[: names.n]
        if names.alive is not None:
            arrays["alive"] = names.alive.view(np.uint8)
        if state.held is not None:
            if self._refine is not None:
                arrays["originals"] = contents.originals[: names.n]
            if self._transform is not None:
                arrays |= self._transform.saved()
            arrays |= self._saved_held(state.held, names.n)
        return manifest, arrays

    def _restore(self, stored: Stored) -> None:
        """Take over what ``_saved`` returned; raise StorageError if that cannot be."""
        d, n = (stored.integer(name, 0, 2**31 - 1) for name in ("d", "n"))
        arrived, filled = stored.integer("arrived", n, 2**62), stored.flag("filled")
        width = d  # of what the structure holds
        if filled and self._transform is not None:
            self._transform.restore(d, stored)
            width = self._transform.d_out
        if stored.flag("trained"):
            self._codec.restore(width, stored)
        elif filled:
            self._set(codec=Float32(), waiting=self._codec)
        if stored.has("codec_fit"):
            self._set(fit=restored_fit(stored.array("codec_fit", np.float64, (5,))))
        ids = alive = held = None
        if stored.has("ids"):
            ids = stored.within("ids", np.int64, (n,), 0, 2**63 - 1)
        if stored.has("alive"):
            alive = stored.within("alive", np.uint8, (n,), 0, 1).view(bool)
        originals, norms = self._state.contents.originals, self._norms
        if filled:
            if d < 1:
                raise StorageError(f"d must be known of vectors, got {d}")
            if self._refine is not None:
                originals = stored.array("originals", self._refine_dtype, (n, d))
            held = self._restored(stored, n, width)
        elif n:
            raise StorageError(f"n must be 0 where nothing is filled, got {n}")
        if stored.has("norm_statistics"):
            norms = Norms.restored(stored.finite("norm_statistics", (6,), np.float64))
        known = None if held is None else canary.restored(stored, d)
        self._publish(
            names=Names(n, arrived, ids, alive),
            originals=originals,
            held=held,
            capacity=n,
            d=d if filled else None,
            norms=norms,
            probes=None if known is None else known.queries,
        )
        self._state.canary, self._foreign = known, True

    def _require_sound(self) -> None:
        """Raise StorageError if what was mapped unread is not what was saved."""
        if self._unverified is not None:
            self._unverified()
            self._unverified = None

    def _require_changeable(self) -> None:
        """Raise StorageError if a change could be led astray by what a file held."""
        self._require_sound()
        if self._foreign:
            fault = next(self._faults(), None)
            if fault is not None:
                raise StorageError(
                    f"the index must be sound to be changed, got {fault}: see repair()"
                )
            self._foreign = False

    # --- changes: made in a draft, then put in place in one step ----------------------

    @contextmanager
    def _changing(self, sound: bool = True) -> Iterator[Self]:
        """Yield a draft to be changed, whose contents then become those of the index.

        Searches see none of it before, and nothing of it where anything is raised. With
        ``sound``, what came from a file is looked at first.
        """
        with self._writer:
            if sound:
                self._require_changeable()
            draft, before = self._view(), self._state
            yield draft
            if self._state is not before:  # by a call from within, of this thread
                raise RuntimeError(
                    "an index must not be changed by what a change of it calls, such "
                    "as progress, got another state: this change is given up"
                )
            self._state = draft._state

    def _shared(self, contents: Contents) -> Contents:
        """Return what a copy begins with."""
        return contents

    # --- what should come out ---------------------------------------------------------

    def _new_canary(self) -> Canary | None:
        """Return known queries with what they find now."""
        probes = self._state.contents.probes
        if self._held is None or probes is None or not len(probes):
            return None
        return Canary(probes, *self.search(probes, canary.K))

    def _sung(self) -> str | None:
        """Return what is wrong with the answers to known queries, or None."""
        known = self._state.canary
        if known is None:
            return None
        if not self._norms.usual(row_norms(known.queries), self.metric).all():
            return "known queries must have norms as the vectors have, got others"
        return known.fault(*self.search(known.queries, known.ids.shape[1]))


_indexes: "weakref.WeakSet[Index]" = weakref.WeakSet()


def _forget_writers() -> None:
    """Unlock in a forked child what a thread that is not there had locked."""
    for index in list(_indexes):
        index._writer = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_writers)
