"""The Index contract: what every structure shares, once.

A structure supplies the steps between, ``_insert`` (prepared vectors in) and
``_select`` (some of them out); everything around them is here: checks, preparation by
the metric, ids, files, and who may change what while others search. How an index
answers is in :mod:`ann.searching`.
"""

import copy
import os
import threading
import weakref
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import canary, guard, halves, parallel, precision, storage, validation
from ann._version import __version__
from ann.canary import Canary
from ann.codecs import Codec, Float32
from ann.fit import Fit, learned, looked_at, some_rows
from ann.fit import restored as restored_fit
from ann.guard import Norms
from ann.health import Health
from ann.kernels import answer
from ann.kernels.stores import ROWS
from ann.memory import Lease, grown, roomy, taken
from ann.metrics import metric as metric_named
from ann.metrics import row_norms
from ann.names import Names
from ann.searching import METRICS, MOST, Searching
from ann.state import Contents, Floats, State, Stopped
from ann.storage import StorageError
from ann.stored import Stored
from ann.transforms import Transform, reduced

Kept = NDArray[np.bool_]
Progress = Callable[[int, int], object]
_MOST_DEAD = 4  # one position in so many


class Index(Searching):
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
    def _insert(
        self, X: Floats, originals: Floats, capacity: int, threads: int,
        progress: Progress,
    ) -> Any:  # fmt: skip
        """Return ``held`` with prepared vectors behind all positions in use.

        Arrays that a search reads row by row have ``capacity`` rows. ``originals`` are
        those of all positions, with ``refine``; not narrowed, as ``X`` may be.
        """

    @abstractmethod
    def _select(self, held: Any, kept: Kept, threads: int) -> Any:
        """Return ``held`` with the ``kept`` (n,) positions only, which close up."""

    @abstractmethod
    def _vectors(self) -> Floats:
        """Return all vectors (n, d) as the codec decodes them, in order of position.

        Raises
        ------
        ValueError
            Its codes are not to be decoded.
        """

    @abstractmethod
    def _structure(self, contents: Contents, originals: Any) -> Any:
        """Return all that the kernels need to search (see ``answer.nearest``)."""

    @abstractmethod
    def _arrays(self) -> list[NDArray[Any]]:
        """Return every array that the structure holds."""

    @abstractmethod
    def _audited(self) -> Iterator[str]:
        """Yield what is wrong with the structure."""

    def _faults(self) -> Iterator[str]:
        """Yield what no change could take: links that lead out of the arrays, …."""
        return iter(())

    def _repair(self, threads: int) -> None:
        """Mend what can be."""

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
        codec = None if isinstance(self._set_codec, Float32) else self._set_codec.params
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

    @property
    def _set_codec(self) -> Codec:
        """The codec that was asked for, though it may still be waiting."""
        return self._state.contents.waiting or self._codec

    def __len__(self) -> int:
        return self.ntotal

    def __repr__(self) -> str:
        shown = {k: v for k, v in self.params.items() if v is not None}
        if "codec" in shown:
            shown["codec"] = self._set_codec
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
            ends the ``add`` as Ctrl-C does.

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

    def _add(
        self,
        X: ArrayLike,
        ids: ArrayLike | None,
        threads: int | None,
        progress: Progress | None = None,
    ) -> BaseException | None:
        """Do what ``add`` does, in a draft.

        What broke it off is returned, where some of the vectors are in all the same.
        """
        given, names = validation.numbers_of(X, "X"), self._state.names
        vectors = validation.vectors(given, "X", self._d)
        new = names.fresh(ids, len(vectors))
        workers = validation.threads(threads, parallel.available())
        if progress is not None and not callable(progress):
            raise ValueError(f"progress must be a function, got {progress!r}")
        prepared = self._metric.prepare(vectors, "X")
        if names.n + len(prepared) > MOST:
            raise ValueError(
                "an index must hold fewer than 2**31 vectors, got "
                f"{names.n + len(prepared)}"
            )
        if len(prepared) == 0:
            return None
        self._look_at_precision(given, vectors, prepared)
        transform, inside = self._narrowed(prepared, workers)
        self._set_codec.check_width(inside.shape[1])
        lengths, probes = row_norms(vectors), self._state.contents.probes
        norms = guard.absorb(self._norms, lengths, self.metric, self._norm_check)
        if probes is None:
            probes = canary.chosen(vectors[norms.usual(lengths, self.metric)])
        self._own()
        if names.n - names.count > names.n // _MOST_DEAD:
            self._compact(workers)
            new = self._state.names.fresh(new, len(inside))  # positions are others now
        self._set(transform=transform, norms=norms, probes=probes, d=vectors.shape[1])
        codec, waiting = self._codec, self._state.contents.waiting
        if not codec.is_trained and len(inside) < codec.fewest:
            self._set(codec=Float32(), waiting=codec)
        elif waiting and self.ntotal + len(inside) >= waiting.fewest:
            self._code_all(prepared, inside, new, workers, progress)
            return None
        return self._absorb(prepared, inside, new, workers, progress or _unheeded)

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

    def _remove(self, ids: ArrayLike, threads: int | None) -> None:
        """Do what ``remove`` does, in a draft."""
        positions = self._state.names.positions(ids)
        workers = validation.threads(threads, parallel.available())
        if len(positions):
            self._own()
            self._take_out(positions, workers)

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

    def _compact(self, threads: int) -> None:
        """Do what ``compact`` does, in a draft."""
        alive = self._state.names.alive
        if alive is not None:
            self._own()
            self._keep(alive, threads)

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
            raise ValueError(
                "ids and X must be given both or neither, got "
                f"{'X' if ids is None else 'ids'} alone"
            )
        workers = validation.threads(threads, parallel.available())
        with self._changing() as draft:
            draft._retrain(ids, X, workers)
        return self

    def _retrain(
        self, ids: ArrayLike | None, X: ArrayLike | None, threads: int
    ) -> None:
        """Do what ``retrain`` does, in a draft."""
        if self._held is None:
            if ids is not None:
                self._state.names.positions(ids)
            return
        whole, inside = self._all_vectors()
        if ids is not None and X is not None:
            given, positions = (
                validation.numbers_of(X, "X"),
                self._state.names.positions(ids),
            )
            vectors = validation.vectors(given, "X", self._d)
            validation.ids(ids, len(vectors))
            prepared = self._metric.prepare(vectors, "X")
            self._look_at_precision(given, vectors, prepared)
            at = np.searchsorted(self._state.names.here, positions)
            inside[at] = self._narrowed(prepared, threads)[1]
            whole[at] = prepared if self._refine is not None else inside[at]
        self._build_anew(whole, inside, self._own_ids(), threads, _unheeded)

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
            "trained": bool(d) and self._set_codec.is_trained,
            "filled": state.held is not None,
        }
        arrays = self._set_codec.saved()
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
            draft = self._view()
            yield draft
            self._state = draft._state

    def _set(self, **changes: Any) -> None:
        """Change the contents of a draft that ``_publish`` has yet to complete."""
        contents = self._state.contents._replace(**changes)
        self._state = replace(self._state, contents=contents)

    def _own(self) -> None:
        """Let a draft have arrays of its own, where others may have them, too."""
        self._state = replace(self._state, contents=self._state.contents.own())

    def _publish(self, threads: int | None = None, **changes: Any) -> None:
        """Change the contents, and make all that a search of them needs.

        No ``threads`` where what the structure holds is as it was.
        """
        if threads is not None:
            changes["lease"] = Lease()
        self._state = self._state_of(self._state.contents._replace(**changes))

    def _absorb(
        self,
        whole: Floats,
        X: Floats,
        new: NDArray[np.int64] | None,
        threads: int,
        progress: Progress,
    ) -> BaseException | None:
        """Take in prepared vectors, and these as the structure wants them."""
        contents, names = self._state.contents, self._state.names
        n, capacity, originals = names.n, contents.capacity, contents.originals
        if n + len(X) > capacity:
            capacity = roomy(n, n + len(X))
        if self._refine is not None:
            kept = halves.kept(whole, self._refine_dtype)
            originals = grown(originals, n, kept, capacity)
        if not self._codec.is_trained:
            self._set(codec=self._codec.copy())
        names, broken_off = names.extended(new, len(X)), None
        fit = self._look_at_fit(whole, X, threads)
        try:
            held = self._insert(X, originals, capacity, threads, progress)
        except Stopped as stopped:
            if len(stopped.absent) == len(X):
                raise stopped.cause from None
            held, broken_off = stopped.held, stopped.cause
            names = names.without(stopped.absent)
            broken_off.add_note(
                f"{type(self).__name__}.add kept {len(X) - len(stopped.absent):,} of "
                f"{len(X):,} vectors, and now holds {names.count:,}"
            )
        if fit is None and self._held is None:
            self._set(held=held)
            fit = self._first_fit(whole, X, threads)
        self._publish(
            threads, names=names, originals=originals, held=held, capacity=capacity,
            fit=fit,
        )  # fmt: skip
        return broken_off

    # --- what a codec has learned from ------------------------------------------------

    def _first_fit(self, whole: Floats, X: Floats, threads: int) -> Fit | None:
        """Return how well codes describe those that the codec learned from."""
        contents = self._state.contents
        if isinstance(contents.codec, Float32) and contents.transform is None:
            return None
        some = some_rows(len(X))
        described = self._described(X[some], threads)
        return learned(whole[some], X[some], described, self._metric.key)

    def _look_at_fit(self, whole: Floats, X: Floats, threads: int) -> Fit | None:
        """Say where vectors that come are described worse by their codes."""
        fit = self._state.contents.fit
        if fit is None:
            return None
        some, cure = some_rows(len(X)), "retrain() learns from all vectors"
        if self._refine is None:
            cure = f"{cure}, if it is given them, for the index keeps but codes"
        described = self._described(X[some], threads)
        return looked_at(
            fit, whole[some], X[some], described, self._metric.key, len(X), cure
        )

    def _described(self, X: Floats, threads: int) -> Floats:
        """Return what the codes of vectors (n, d) would tell of them."""
        if isinstance(self._codec, Float32):
            return X
        codes = self._codec.encode(X, threads=threads)
        return self._codec.decode(codes, threads=threads)

    def _decoded(self, packed: NDArray[Any]) -> Floats:
        """Return what stored vectors stand for."""
        if isinstance(self._codec, Float32):
            return packed
        return self._codec.decode(self._codec.unpack(packed))

    def _code_all(
        self,
        whole: Floats,
        X: Floats,
        new: NDArray[np.int64] | None,
        threads: int,
        progress: Progress | None,
    ) -> None:
        """Train the codec that was waiting, and build anew with those that came."""
        names, held = self._state.names, self._all_vectors()
        ids, arrived = self._own_ids(), names.arrived + len(X)
        if ids is not None or new is not None:
            before = names.of_all[names.here]
            after = np.arange(names.arrived, arrived) if new is None else new
            ids = np.concatenate([before, after])
        self._set(names=Names(names.n, arrived, names.ids, names.alive))
        whole, X = (np.concatenate(pair) for pair in zip(held, (whole, X), strict=True))
        self._build_anew(whole, X, ids, threads, progress or _unheeded)

    def _own_ids(self) -> NDArray[np.int64] | None:
        """Return the ids of all vectors; None where each is its position."""
        names = self._state.names
        if names.ids is None and names.alive is None and names.arrived == names.n:
            return None
        return names.of_all[names.here]

    def _all_vectors(self) -> tuple[Floats, Floats]:
        """Return copies of all vectors, prepared, and as the structure takes them."""
        contents, here = self._state.contents, self._state.names.here
        if self._refine is None:
            inside = self._vectors()[here]
            return inside, inside
        whole = halves.floats(contents.originals[here])
        workers = parallel.available()
        return whole, np.array(reduced(self._state.reduction, whole, "X", workers))

    def _build_anew(
        self,
        whole: Floats,
        X: Floats,
        ids: NDArray[np.int64] | None,
        threads: int,
        progress: Progress,
    ) -> None:
        """Let a draft hold these vectors alone, as if they had come in one ``add``."""
        contents, transform = self._state.contents, self._state.contents.transform
        if transform is not None and self._refine is not None:
            self._set(transform=transform.untrained(), held=None)
            transform, X = self._narrowed(whole, threads)
        self._state = self._state_of(
            Contents(
                self._set_codec.untrained(),
                transform,
                contents.norm_check,
                names=Names(0, contents.names.arrived - len(X)),
                d=contents.d,
                norms=contents.norms,
                probes=contents.probes,
            )
        )
        if not len(X):
            return
        if len(X) < self._codec.fewest:
            self._set(codec=Float32(), waiting=self._codec)
        broken_off = self._absorb(whole, X, ids, threads, progress)
        if broken_off is not None:
            raise broken_off

    def _take_out(self, positions: NDArray[np.int64], threads: int) -> None:
        kept = np.ones(self._state.names.n, bool)
        kept[positions] = False
        self._keep(kept, threads)

    def _keep(self, kept: Kept, threads: int) -> None:
        """Leave nothing but the ``kept`` (n,) positions, which close up."""
        contents = self._state.contents
        originals = contents.originals
        if self._refine is not None:
            originals = taken(originals, np.flatnonzero(kept))
        names = contents.names.kept(kept)
        held = self._select(contents.held, kept, threads)
        self._publish(
            threads, names=names, originals=originals, held=held, capacity=names.n
        )

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

    def _state_of(self, contents: Contents) -> State:
        """Return contents with all that a search of them needs."""
        names, held = contents.names, contents.held
        refined = structure = reduction = None
        if self._refine is not None:
            refined = ROWS[self._metric.key](halves.packed(contents.originals))
        if held is not None:
            structure = self._structure(contents, refined)
            if contents.transform is not None:
                reduction = contents.transform.reduction(self._metric)
        metric = METRICS.index(self._metric.name)
        bounds = guard.ANY
        if contents.norm_check != "off":
            bounds = contents.norms.of_queries(self._metric.name)
        final = answer.Final(metric, names.n, refined, names.ids)
        return State(contents, structure, final, bounds, reduction)

    # --- the steps between ------------------------------------------------------------

    def _look_at_precision(
        self, given: NDArray[Any], X: Floats, prepared: Floats
    ) -> None:
        """Say where vectors lose what matters by being cast, or refuse them."""
        precision.look_at_rows(given, X, "X")
        if self._refine is not None:
            before = self._state.contents.originals[: self._state.names.n]
            halves.check(prepared, self._refine_dtype, before)

    def _narrowed(self, X: Floats, threads: int) -> tuple[Transform | None, Floats]:
        """Return the transform, trained, and prepared vectors as the structure's."""
        transform = self._transform
        if transform is None:
            return None, X
        if self._held is None:  # the first vectors train a copy
            transform = transform.copy().learn(X, self._metric)
        return transform, reduced(transform.reduction(self._metric), X, "X", threads)

    def _codes(self, X: Floats, threads: int) -> NDArray[np.uint8]:
        """Return vectors as codes; the first ones train the codec."""
        if not self._codec.is_trained:
            self._codec.train(X, threads=threads)
        return self._codec.encode(X, threads=threads)


def _unheeded(done: int, n: int) -> None:
    """Take note of no progress."""


_indexes: "weakref.WeakSet[Index]" = weakref.WeakSet()


def _forget_writers() -> None:
    """Unlock in a forked child what a thread that is not there had locked."""
    for index in list(_indexes):
        index._writer = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_writers)
