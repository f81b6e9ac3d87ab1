"""A quantized graph: nodes know in a few bits how their neighbours differ from them.

Gou, Gao, Xu & Long, "SymphonyQG: towards symphonious integration of quantization and
graph for approximate nearest neighbor search", SIGMOD 2025.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ann import adaptive, neighborhoods, sketches, validation
from ann.codecs import SQ, Codec, Float32
from ann.filters import Filter
from ann.hnsw import HNSW, Effort
from ann.kernels.fastscan import BLOCK
from ann.kernels.frontier import places, room
from ann.kernels.quantized import QuantizedScratch, QuantizedWalk
from ann.kernels.sketch import bits
from ann.memory import aligned
from ann.metrics import row_norms
from ann.neighborhoods import Near, Stores
from ann.nodes import Nodes
from ann.state import Contents, Floats, State
from ann.stored import Stored
from ann.transforms import Transform

_SAMPLE = 65_536  # rows whose mean is the centre
_GROWN = 2  # times as many nodes: what differences are like is learned again
_LINKED, _EACH = 8192, 8  # nodes, and their first links: what is learned from
_MOST_BITS = 2**15  # whose sums are of 16 bits
_RELAXED = 0.2  # how much farther a filling link may be than a link to one near it


class QG(HNSW):
    """A graph whose nodes hold codes of a few bits of their neighbours.

    Parameters
    ----------
    metric
        ``l2``, ``ip`` or ``cosine``.
    codec : SQ, optional
        How a node that a walk comes to is scored; float32 by default.
    refine, refine_dtype, norm_check, transform
        See :class:`ann.Index`.
    M, ef_construction, seed
        See :class:`ann.HNSW`, whose graph this walks on. Rows hold ``2 M`` neighbours,
        up to a multiple of 32; places that the graph leaves empty are filled with
        neighbours' neighbours.
    code_bits : int, optional
        Bits of a neighbour's code, a multiple of 16. By default as many as make
        estimates right to 3.3 % (of ‖r‖ ‖v‖, see docs/qg.md), or one for each component
        (at least 64) where that is not enough.

    Notes
    -----
    A walk scores one node a step and estimates all its neighbours at once, from codes
    that tell how they differ from the node (see :mod:`ann.kernels.neighborhood`); the
    answer is what has been scored. It begins at the best of 256 roots. A filtered
    search walks the graph as ``HNSW`` does.

    What differences of neighbours are like is learned when the first vectors come, and
    again whenever there are twice as many.

    ``search`` is as of ``HNSW``, but that ``ef_search`` is the size of a pool of
    estimates, ``distance_computations`` counts the nodes scored, not the neighbours
    that are estimated, and ``taper`` has no effect: rows are read whole. A large pool
    costs little where ``epsilon`` ends the walk.

    Memory in bytes beyond that of ``HNSW``, for n vectors and codes of b bits: with R =
    2 M up to a multiple of 32, ``n * R * (8 + b / 8)``.

    Examples
    --------
    >>> index = QG("cosine", codec=ann.SQ(8), refine=1.2).add(X)
    >>> ids, distances = index.search(Q, k=10, ef_search=64)
    """

    _kind = "QG"

    def __init__(
        self,
        metric: str = "l2",
        *,
        M: int = 16,
        ef_construction: int = 200,
        code_bits: int | None = None,
        codec: Codec | None = None,
        refine: float | None = None,
        seed: int = 0,
        norm_check: str = "warn",
        transform: Transform | None = None,
        refine_dtype: str | None = None,
    ) -> None:
        super().__init__(
            metric,
            M=M,
            ef_construction=ef_construction,
            codec=codec,
            refine=refine,
            seed=seed,
            norm_check=norm_check,
            transform=transform,
            refine_dtype=refine_dtype,
        )
        if code_bits is not None:
            code_bits = validation.integer(code_bits, "code_bits", 16, _MOST_BITS)
            if code_bits % 16:
                raise ValueError(f"code_bits must be a multiple of 16, got {code_bits}")
        self._code_bits = code_bits

    @property
    def _build_params(self) -> dict[str, Any]:
        return {**super()._build_params, "code_bits": self._code_bits}

    def _check(self) -> None:
        if self._metric.name == "l1":
            raise ValueError("QG must have metric l2, ip or cosine, got 'l1'")
        if not isinstance(self._codec, SQ | Float32):
            raise ValueError(f"QG must have an ann.SQ or no codec, got {self._codec!r}")

    def _effort(self, *args: Any) -> Effort:
        ef, stretch, shift, _ = super()._effort(*args)
        return ef, stretch, shift, None

    @property
    def _degree(self) -> int:
        """How many neighbours rows have room for."""
        return -(-2 * self._M // BLOCK) * BLOCK

    def _arrays(self) -> list[NDArray[Any]]:
        arrays = super()._arrays()
        if self._held is not None:
            near: Near = self._held.near
            arrays += [near.nodes.rows, near.roots.rows]
            arrays += [*near.frame.sketch[:4], near.frame.centre]
            if near.spare is not None:
                arrays += near.spare.arrays()
        return arrays

    def _shared(self, contents: Contents) -> Contents:
        contents = super()._shared(contents)
        if contents.held is None:
            return contents
        near = contents.held.near._replace(spare=None)
        return contents._replace(held=contents.held._replace(near=near))

    def _structure(self, contents: Contents, originals: Any) -> Any:
        held, store = contents.held, self._walk(contents, originals).store
        near: Near = held.near
        return QuantizedWalk(
            store, originals, held.same, near.nodes, near.roots, near.frame
        )

    def _filtered(
        self, state: State, selected: Filter, effort: Effort, nq: int
    ) -> tuple[State, Effort]:
        return super()._filtered(self._plain(state), selected, effort, nq)

    def _listed(self, state: State, selected: Filter) -> tuple[State, Effort]:
        return super()._listed(self._plain(state), selected)

    def _plain(self, state: State) -> State:
        """Return the state whose walks are those of ``HNSW``."""
        originals = state.structure.originals
        return replace(state, structure=self._walk(state.contents, originals))

    def _scratch(self, state: State, effort: Effort) -> Any:
        if not isinstance(state.structure, QuantizedWalk):
            return super()._scratch(state, effort)
        d, ef = self._width(state), effort[0]
        sketch = state.structure.frame.sketch
        wide = bits(sketch) + 2 * len(sketch.units) + sketch.codes.shape[1]
        return QuantizedScratch(
            visited=np.zeros(state.contents.capacity, np.uint8),
            epoch=np.zeros(1, np.uint8),
            keys=aligned((room(ef),), np.float32),
            ids=aligned((room(ef),), np.int32),
            met=aligned((places(ef),), np.uint32),
            query=aligned((d + state.codec.query_size(d),), np.float32),
            centred=aligned((d,), np.float32),
            told=aligned((wide,), np.float32),
            tables=aligned((8 * bits(sketch),), np.uint8),
            sums=aligned((2 * BLOCK,), np.int32),
            estimates=aligned((16,), np.float32),
        )

    def _fits(self, scratch: Any, effort: Effort) -> bool:
        if not isinstance(scratch, QuantizedScratch):
            return super()._fits(scratch, effort)
        return bool(len(scratch.keys) >= room(effort[0]))

    def _publish(self, threads: int | None = None, **changes: Any) -> None:
        if threads is not None:
            contents = self._state.contents._replace(**changes)
            changes["held"] = self._informed(contents, threads)
        super()._publish(threads, **changes)

    def _informed(self, contents: Contents, threads: int) -> Nodes:
        """Return the nodes with rows that describe the links as they are now."""
        held, names, n = contents.held, contents.names, contents.names.n
        d = held.packed.shape[1] if self._codec.d is None else self._codec.d
        nothing = np.empty((0, d), np.float32)
        held, store = self._store_to_build_on(
            held, n, nothing, contents.originals, threads
        )
        near = held.near
        if near is None or n >= _GROWN * near.learned_from:
            centre, far = self._centre(held, n, d)
            sketch = sketches.learned(
                self._differences(held, n), far, self._code_bits, self._seed
            )
            near = neighborhoods.none(
                self._degree, sketch, centre, self._metric.name, n
            )
        stored = self._codec.store(held.packed, self._metric.key)
        lead = self._lead(names, held.same)
        near = neighborhoods.informed(
            near, held.levels, held.graph.base, Stores(store, stored), lead,
            contents.capacity, self._relaxed(), contents.lease, threads,
        )  # fmt: skip
        return held._replace(near=near)

    def _relaxed(self) -> tuple[float, float]:
        if self._metric.name == "ip":
            return 1.0, 0.0
        stretch, shift = adaptive.stop(_RELAXED, self._metric.name)
        return 1 + stretch, shift

    def _centre(self, held: Nodes, n: int, d: int) -> tuple[Floats, float]:
        """Return what vectors are told from, and how far from it they are.

        It is the mean, but under ``ip``, where queries are nowhere in particular.
        """
        if self._metric.name == "ip" or not n:
            return np.zeros(d, np.float32), 0.0
        some = self._decoded(held.packed[: n : -(-n // _SAMPLE)])
        centre: Floats = some.mean(axis=0, dtype=np.float64).astype(np.float32)
        return centre, float(np.sqrt(np.square(row_norms(some - centre)).mean()))

    def _differences(self, held: Nodes, n: int) -> Floats:
        """Return some nodes' differences from those they link to."""
        nodes = np.arange(0, n, max(1, -(-n // _LINKED)))
        links = held.graph.base[nodes, :_EACH]
        ends, starts = np.where(links >= 0, links, nodes[:, None]), nodes[:, None]
        starts = np.broadcast_to(starts, links.shape)
        return self._decoded(held.packed[ends.ravel()]) - self._decoded(
            held.packed[starts.ravel()]
        )

    def _saved_held(self, held: Nodes, n: int) -> dict[str, NDArray[Any]]:
        return super()._saved_held(held, n) | neighborhoods.saved(held.near, n)

    def _restored(self, stored: Stored, n: int, d: int) -> Nodes:
        near = neighborhoods.restored(stored, n, self._degree, d, self._metric.name)
        return super()._restored(stored, n, d)._replace(near=near)
