"""How any index is changed: in a draft, which :class:`ann.index.Index` then publishes.

A draft is a view of the index with a state of its own, so whatever is raised here
leaves the index as it was. A structure supplies the steps between, ``_insert``
(prepared vectors in) and ``_select`` (some of them out); all around them is here.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import canary, guard, halves, parallel, precision, validation
from ann.codecs import Codec, Float32
from ann.fit import Fit, Sample, learned, looked_at, some_rows
from ann.kernels import answer
from ann.kernels.stores import ROWS
from ann.memory import Lease, grown, roomy, taken
from ann.metrics import row_norms
from ann.names import Names
from ann.searching import METRICS, MOST, Searching
from ann.state import Contents, Floats, State, Stopped
from ann.transforms import Transform, reduced

Kept = NDArray[np.bool_]
Progress = Callable[[int, int], object]
_MOST_DEAD = 4  # one position in so many


class Changing(Searching):
    """The half of an index that changes; all methods work on a draft."""

    _refine_dtype: str

    # --- what a structure supplies ----------------------------------------------------

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
    def _vectors(self, positions: NDArray[np.int64]) -> Floats:
        """Return vectors (m, d) as the codec decodes them.

        Raises
        ------
        ValueError
            Its codes are not to be decoded.
        """

    @abstractmethod
    def _structure(self, contents: Contents, originals: Any) -> Any:
        """Return all that the kernels need to search (see ``answer.nearest``)."""

    def _repair(self, threads: int) -> None:
        """Mend what can be."""

    # --- what users ask for -----------------------------------------------------------

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
        self._target_codec.check_width(inside.shape[1])
        lengths, probes = row_norms(vectors), self._state.contents.probes
        norms = guard.absorb(self._norms, lengths, self._metric.name, self._norm_check)
        if probes is None:
            probes = canary.chosen(vectors[norms.usual(lengths, self._metric.name)])
        self._own()
        if names.n - names.count > names.n // _MOST_DEAD:
            self._compact(workers)
            new = self._state.names.fresh(new, len(inside))  # positions are others now
        self._set(transform=transform, norms=norms, probes=probes, d=vectors.shape[1])
        waiting = self._state.contents.waiting
        if waiting and names.count + len(inside) >= waiting.fewest:
            self._code_all(prepared, inside, new, workers, progress)
            return None
        return self._absorb(prepared, inside, new, workers, progress or _unheeded)

    def _remove(self, ids: ArrayLike, threads: int | None) -> None:
        """Do what ``remove`` does, in a draft."""
        positions = self._state.names.positions(ids)
        workers = validation.threads(threads, parallel.available())
        if len(positions):
            self._own()
            self._take_out(positions, workers)

    def _compact(self, threads: int) -> None:
        """Do what ``compact`` does, in a draft."""
        alive = self._state.names.alive
        if alive is not None:
            self._own()
            self._keep(alive, threads)

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
            positions = self._state.names.positions(ids)
            given = validation.numbers_of(X, "X")
            vectors = validation.vectors(given, "X", self._d)
            validation.ids(ids, len(vectors))
            prepared = self._metric.prepare(vectors, "X")
            self._look_at_precision(given, vectors, prepared)
            at = np.searchsorted(self._state.names.here, positions)
            inside[at] = self._narrowed(prepared, threads)[1]
            whole[at] = prepared if self._refine is not None else inside[at]
        self._build_anew(whole, inside, self._own_ids(), threads, _unheeded)

    # --- the contents of a draft ------------------------------------------------------

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
        codec = self._codec
        if not codec.is_trained and len(X) < codec.fewest:
            self._set(codec=Float32(), waiting=codec)
        elif not codec.is_trained:
            self._set(codec=codec.copy())
        names, broken_off = names.extended(new, len(X)), None
        first, fit = self._held is None, contents.fit
        if not first:  # before the work, in case that the warning is an error
            fit = self._look_at_fit(whole, X, threads, first)
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
        if first:
            self._set(held=held)
            fit = self._look_at_fit(whole, X, threads, first)
        self._publish(
            threads, names=names, originals=originals, held=held, capacity=capacity,
            fit=fit,
        )  # fmt: skip
        return broken_off

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

    # --- what a codec has learned from ------------------------------------------------

    @property
    def _target_codec(self) -> Codec:
        """The codec that was asked for, though it may still be waiting."""
        return self._state.contents.waiting or self._codec

    def _look_at_fit(
        self, whole: Floats, X: Floats, threads: int, first: bool
    ) -> Fit | None:
        """Warn where the codec describes new vectors worse than its training set.

        The ``first`` vectors are that. None where there is nothing that is trained, and
        in a file of a version that did not look.
        """
        contents, fit = self._state.contents, self._state.contents.fit
        exact = isinstance(contents.codec, Float32) and contents.transform is None
        if exact or (fit is None and not first):
            return None
        some = some_rows(len(X))
        described = self._described(contents.codec, X[some], threads)
        sample = Sample(whole[some], X[some], described)
        if fit is None:
            return learned(sample)
        cure = "retrain() learns from all vectors"
        if self._refine is None:
            cure = f"{cure}, if it is given them, for the index keeps but codes"
        return looked_at(
            fit, sample, len(X), lambda: self._trained_again(sample, threads), cure
        )

    def _trained_again(self, sample: Sample, threads: int) -> tuple[float, float]:
        """Return the recall of every other vector's code, and what it could be.

        That is measured of a codec, and a transform, trained on the others among some
        of those that are held.
        """
        key, transform = self._metric.key, self._transform
        test, other = (Sample(*(of[at::2] for of in sample)) for at in (0, 1))
        whole, inside, train = test.X, test.inside, other.inside
        if transform is not None:  # of what is held, the index may not have the whole
            again = transform.untrained().learn(other.X, self._metric)
            reduction = again.reduction(self._metric)
            inside, train = (
                reduced(reduction, of, "X", threads) for of in (whole, other.X)
            )
        else:
            here = self._state.names.here
            held = self._vectors(here[some_rows(len(here))])
            train = np.concatenate([train, held])
        codec = self._codec
        if not isinstance(codec, Float32):
            codec = codec.untrained()
            codec.train(train - self._before_coding(train, threads), threads=threads)
        described = self._described(codec, inside, threads)
        return test.recall(key), Sample(whole, inside, described).recall(key)

    def _described(self, codec: Codec, X: Floats, threads: int) -> Floats:
        """Return vectors (n, d) as their codes decode."""
        if isinstance(codec, Float32):
            return X
        off = self._before_coding(X, threads)
        codes = codec.encode(X - off, threads=threads)
        described: Floats = codec.decode(codes, threads=threads) + off
        return described

    def _before_coding(self, X: Floats, threads: int) -> Any:
        """Return what is taken off each vector before it is coded."""
        return np.float32(0)

    def _decoded(self, packed: NDArray[Any]) -> Floats:
        """Return what stored vectors stand for."""
        if isinstance(self._codec, Float32):
            return packed
        return self._codec.decode(self._codec.unpack(packed))

    def _codes(self, X: Floats, threads: int) -> NDArray[np.uint8]:
        """Return vectors as codes; the first ones train the codec."""
        if not self._codec.is_trained:
            self._codec.train(X, threads=threads)
        return self._codec.encode(X, threads=threads)

    # --- all anew ---------------------------------------------------------------------

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
            inside = self._vectors(here)
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
                self._target_codec.untrained(),
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
        broken_off = self._absorb(whole, X, ids, threads, progress)
        if broken_off is not None:
            raise broken_off

    # --- the steps between ------------------------------------------------------------

    def _look_at_precision(
        self, given: NDArray[Any], X: Floats, prepared: Floats
    ) -> None:
        """Warn where casting loses what matters, or raise ValueError."""
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


def _unheeded(done: int, n: int) -> None:
    """Take note of no progress."""
