"""RaBitQ: a random rotation, then 1 to 8 bits a component, and unbiased estimates.

Gao & Long, "RaBitQ: quantizing high-dimensional vectors with a theoretical error bound
for approximate nearest neighbor search", SIGMOD 2024; with more bits: Gao, Gou, Xu,
Yang, Long & Wong, "Practical and asymptotically optimal quantization of
high-dimensional vectors in Euclidean space for approximate nearest neighbor search",
SIGMOD 2025.
"""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ann import parallel, validation
from ann.codecs.base import Codec, Codes, Floats, Labels, Sizes
from ann.kernels import fastscan, rabitq, rotation
from ann.kernels.fastscan import BLOCK
from ann.kernels.rabitq import EPSILON, WORD
from ann.memory import aligned, aligned_copy
from ann.metrics import Metric
from ann.storage import StorageError
from ann.stored import Stored

_CHUNK = 1024  # vectors coded at a time
_ROWS = 8192  # codes packed at a time
_FEWEST = 32
_WIDEST = 2**15  # components: a 32-bit sum holds 255 * 127 for each


class RaBitQ(Codec):
    """Quantizer of rotated vectors whose estimates have no bias, and a known error.

    A vector is taken from the mean of the training vectors (in an ``IVF``, from its
    list's centroid) and rotated at random. Its code is the point of a grid of ``bits``
    bits that has the smallest angle with it. Searches score by estimates of the
    distance; the first bits of all components are a code of their own, by which scans
    reject most vectors before they read the rest.

    Parameters
    ----------
    bits : int
        Bits a component, in [1, 8].
    seed : int
        Of the rotation.

    Attributes
    ----------
    centre_ : (d,) float32
        After ``train``.
    signs_ : (4, d) float32
        What the rotation flips (:mod:`ann.kernels.rotation`).

    Notes
    -----
    A code takes ``8 bits ceil(d / 64)`` bytes, and 12 more with one bit, 24 with more;
    ``Flat`` and ``IVF`` keep them in blocks of 32, of which each list of an IVF has one
    that is not full. Not for ``l1``: what is estimated are inner products.

    The bound of the error, of 1.9 standard deviations, holds for about 94 of 100
    estimates. So scans lose at most 3 of 100 neighbours to the first bit's bound; it
    was 0.4 of 100 among 20,000 sentence embeddings. docs/rabitq.md derives both.

    Examples
    --------
    >>> rabitq = RaBitQ(bits=4).train(X)
    >>> codes = rabitq.encode(X)  # (n, d + 24) uint8
    >>> squares, bounds = rabitq.estimate(q, codes)
    """

    _learned: ClassVar[tuple[str, ...]] = ("centre_", "signs_")
    centre_: Floats
    signs_: Floats

    def __init__(self, bits: int = 4, *, seed: int = 0) -> None:
        self.bits = validation.integer(bits, "bits", 1, 8)
        self.seed = validation.integer(seed, "seed", 0)

    @property
    def params(self) -> dict[str, Any]:
        """The constructor's parameters, with the codec's ``kind``."""
        return {"kind": "RaBitQ", "bits": self.bits, "seed": self.seed}

    @property
    def _top(self) -> int:
        return 255  # of a byte of a term; ``_parts`` looks at the components

    def check_width(self, d: int) -> None:
        """Raise ValueError above 32,768 components."""
        super().check_width(d)
        if d > _WIDEST:
            raise ValueError(
                f"X must have at most {_WIDEST} columns for RaBitQ, got {d}"
            )

    @property
    def fewest(self) -> int:
        """32: of fewer the mean is not known."""
        return _FEWEST

    def check_metric(self, metric: Metric) -> None:
        """Raise ValueError for ``l1``."""
        if metric.name == "l1":
            raise ValueError(
                "metric must be l2, ip or cosine with RaBitQ, which estimates inner "
                "products, got 'l1'"
            )

    def estimate(self, q: ArrayLike, codes: ArrayLike) -> tuple[Floats, Floats]:
        """Return estimates of the squared distances between ``q`` and coded vectors.

        Parameters
        ----------
        q : (d,) array
        codes : (n, d + 12) or (n, d + 24) uint8 array
            From ``encode``.

        Returns
        -------
        squares, bounds : (n,) float32
            Unbiased over rotations, so some may be negative; and how far off each is at
            most, with a probability of about 0.94.

        Raises
        ------
        ValueError
            Not trained, or ``q`` is not finite, of another shape, or longer than 4e18,
            or ``codes`` are no codes of this codec.
        """
        self._check_trained()
        query = validation.vector(q, "q", self.d)
        self._check_norms(query, "q")
        query = query - self.centre_
        components, terms = self._parts(self._checked(codes))
        (turned,) = self._rotated(query)
        norms, factors = terms[:, 0], terms[:, -1]
        products = factors * ((components - self._middle) @ turned)
        square = np.float32(np.vdot(query, query))
        squares: Floats = norms + square - 2 * products
        beyond = np.maximum(1 / self._cosines(components, terms) - 1, 0)
        share = EPSILON * np.sqrt(beyond / max(1, query.size - 1))
        bounds = 2 * np.sqrt(square) * share * np.sqrt(norms)
        return squares, bounds.astype(np.float32)

    # --- training ---------------------------------------------------------------------

    def _fit(self, X: Floats, threads: int) -> None:
        self.centre_ = X.mean(axis=0, dtype=np.float64).astype(np.float32)
        rng = np.random.default_rng(self.seed)
        self.signs_ = rotation.drawn(X.shape[1], rng).signs

    def train_residuals(self, X: Floats, threads: int) -> None:
        """Take 0 for the centre: stores of residuals have no other."""
        self.train(np.zeros((1, X.shape[1]), np.float32), threads=threads)

    def _shapes(self, d: int) -> dict[str, tuple[int, ...]]:
        return {"centre_": (d,), "signs_": (rotation.ROUNDS, d)}

    def restore(self, d: int, stored: Stored) -> None:
        """Take over what ``saved`` returned."""
        super().restore(d, stored)
        if (np.abs(self.signs_) != 1).any():
            raise StorageError("codec.signs_ must be 1 or -1")
        try:
            self._check_norms(self.centre_[None], "codec.centre_")
        except ValueError as error:
            raise StorageError(str(error)) from error

    # --- coding -----------------------------------------------------------------------

    @property
    def _rotation(self) -> rotation.Rotation:
        return rotation.Rotation(self.signs_)

    @property
    def _middle(self) -> np.float32:
        return np.float32((2**self.bits - 1) / 2)

    @property
    def _n_terms(self) -> int:
        return int(rabitq.n_terms(self.bits))

    def _rotated(self, X: Floats) -> Floats:
        turned = np.array(X, np.float32)
        rotation.rotate_rows(self._rotation, turned)
        return turned

    def _code_width(self) -> int:
        return len(self.centre_) + 4 * self._n_terms

    def _encode(self, X: Floats, threads: int) -> Codes:
        self._check_norms(X, "X")
        codes = np.empty(X.shape, np.uint8)
        terms = np.empty((len(X), self._n_terms), np.float32)

        def work(ranges: parallel.Ranges) -> None:
            room = aligned((2, X.shape[1]), np.float32)
            for a, b in ranges:
                rabitq.encode(
                    X[a:b], self._rotation, self.centre_, self.bits, room, codes[a:b],
                    terms[a:b],
                )  # fmt: skip

        parallel.run(work, len(X), _CHUNK, threads)
        return np.hstack([codes, terms.view(np.uint8)])

    def _parts(self, codes: Codes) -> tuple[Codes, Floats]:
        """Return components (n, d) and terms (n, 3 or 6) of codes.

        Raises
        ------
        ValueError
            A component has more bits, or a term is not finite.
        """
        d, top = len(self.centre_), 2**self.bits - 1
        components = codes[:, :d]
        terms = np.ascontiguousarray(codes[:, d:]).view(np.float32)
        if components.size and components.max() > top:
            raise ValueError(
                f"codes must have components in [0, {top}], got {components.max()}"
            )
        if not np.isfinite(terms).all():
            raise ValueError("codes must have finite terms, got others")
        return components, terms

    def _cosines(self, components: Codes, terms: Floats) -> Floats:
        """Return the squared cosines of the angles between vectors and their codes."""
        points = components - self._middle
        squares = np.einsum("ij,ij->i", points, points)
        norms, factors = terms[:, 0], terms[:, -1]
        some = factors > 0
        lengths = np.where(some, factors, 1) ** 2 * squares
        return np.where(some, norms / lengths, 1).astype(np.float32)

    def _decode(self, codes: Codes, threads: int) -> Floats:
        components, terms = self._parts(codes)
        # The code's projection: ‖r‖ cos along the direction of s, f s having ‖r‖ / cos.
        scales = terms[:, -1] * self._cosines(components, terms)
        decoded = scales[:, None] * (components - self._middle)
        rotation.rotate_rows_back(self._rotation, decoded)
        decoded += self.centre_
        return decoded

    # --- residuals of an IVF ----------------------------------------------------------

    def codes_residuals(self, metric: Metric) -> bool:
        """Yes: the nearer the centre, the smaller the error."""
        return True

    def related(
        self, codes: Codes, residuals: Floats, labels: Labels, centroids: Floats,
        key: str, threads: int,
    ) -> tuple[Codes, Floats]:  # fmt: skip
        """Return codes with the terms that lists' centroids make; nothing is beside."""
        components, terms = self._parts(codes)
        turned = self._rotated(centroids)

        def work(ranges: parallel.Ranges) -> None:
            for a, b in ranges:
                rabitq.relate(
                    components[a:b], self.bits, residuals[a:b], labels[a:b], centroids,
                    turned, key == "l2", terms[a:b],
                )  # fmt: skip

        parallel.run(work, len(codes), _CHUNK, threads)
        return np.hstack([components, terms.view(np.uint8)]), np.empty(0, np.float32)

    # --- rows: terms, then planes -----------------------------------------------------

    def pack(self, codes: Codes) -> NDArray[Any]:
        """Return terms and the bits of each component's code, plane by plane."""
        d, head = len(self.centre_), 4 * self._n_terms
        words = rabitq.n_words(d)
        packed = np.zeros((len(codes), head + 8 * self.bits * words), np.uint8)
        packed[:, :head] = codes[:, d:]
        for a in range(0, len(codes), _ROWS):
            part = np.zeros((len(codes[a : a + _ROWS]), words, WORD), np.uint8)
            part.reshape(len(part), -1)[:, :d] = codes[a : a + _ROWS, :d]
            planes = packed[a : a + _ROWS, head:].reshape(-1, words, self.bits, 8)
            for p in range(self.bits):
                bits = (part >> np.uint8(p)) & np.uint8(1)
                planes[:, :, p] = np.packbits(bits, axis=2, bitorder="little")
            packed[a : a + _ROWS, head:] = planes.reshape(len(part), -1)
        return packed

    def unpack(self, packed: NDArray[Any]) -> Codes:
        """Undo ``pack``."""
        d, head = len(self.centre_), 4 * self._n_terms
        codes = np.empty((len(packed), d + head), np.uint8)
        codes[:, d:] = packed[:, :head]
        for a in range(0, len(packed), _ROWS):
            planes = packed[a : a + _ROWS, head:].reshape(-1, self._words, self.bits, 8)
            part = np.zeros((len(planes), d), np.uint8)
            for p in range(self.bits):
                word = np.ascontiguousarray(planes[:, :, p]).reshape(len(planes), -1)
                bits = np.unpackbits(word, axis=1, count=d, bitorder="little")
                part |= bits << np.uint8(p)
            codes[a : a + _ROWS, :d] = part
        return codes

    @property
    def _words(self) -> int:
        return int(rabitq.n_words(len(self.centre_)))

    def store(self, packed: NDArray[Any], key: str) -> Any:
        """Return the kernels' store of rows."""
        return rabitq.Planes(
            packed, self._rotation, self.centre_, self.bits, key == "l2"
        )

    def query_size(self, d: int) -> int:
        """Return the room for a query's bytes, and for the rotated query."""
        return rabitq.query_size(d)

    # --- blocks -----------------------------------------------------------------------

    @property
    def block(self) -> int:
        """32."""
        return BLOCK

    def arrange(self, packed: NDArray[Any], sizes: Sizes) -> NDArray[Any]:
        """Return codes in blocks (see ``kernels.rabitq.Blocks``)."""
        head, words = 4 * self._n_terms, self._words
        planes = packed[:, head:].reshape(len(packed), words, self.bits, 8)
        top = planes[:, :, -1].reshape(len(packed), -1)
        fours = np.stack([top & 15, top >> 4], axis=2).reshape(len(packed), -1)
        signs = fastscan.pack_blocks(fours, sizes)
        total, where = len(signs), fastscan.slots(sizes)
        rest = planes[:, :, :-1].reshape(len(packed), -1)
        slots = np.zeros((total * BLOCK, head + rest.shape[1]), np.uint8)
        slots[where, :head], slots[where, head:] = packed[:, :head], rest
        terms = slots[:, :head].reshape(total, BLOCK, self._n_terms, 4)
        parts = signs, terms.transpose(0, 2, 1, 3), slots[:, head:]
        return aligned_copy(np.hstack([part.reshape(total, -1) for part in parts]))

    def disarrange(self, arranged: NDArray[Any], sizes: Sizes) -> NDArray[Any]:
        """Undo ``arrange``."""
        words, n_terms, total = self._words, self._n_terms, len(arranged)
        ends = np.cumsum([16 * WORD // 4 * words, 4 * BLOCK * n_terms])
        signs, terms, rest = np.split(arranged, ends, axis=1)
        signs = signs.reshape(total, -1, fastscan.ROW)
        fours = fastscan.unpack_blocks(signs, sizes, WORD // 4 * words)
        top = fours[:, 0::2] | (fours[:, 1::2] << np.uint8(4))
        where = fastscan.slots(sizes)
        terms = terms.reshape(total, n_terms, BLOCK, 4).transpose(0, 2, 1, 3)
        terms = terms.reshape(total * BLOCK, -1)[where]
        rest = rest.reshape(total * BLOCK, words, self.bits - 1, 8)[where]
        planes = np.concatenate([rest, top.reshape(-1, words, 1, 8)], axis=2)
        return np.hstack([terms, planes.reshape(len(planes), -1)])

    def scan_store(self, arranged: NDArray[Any], key: str) -> Any:
        """Return the kernels' store of blocks."""
        return self._blocks(arranged, key, False, np.empty(0, np.float32))

    def residual_store(
        self, arranged: NDArray[Any], cross: Floats, centroids: Floats, key: str
    ) -> Any:
        """Return the same of residuals; their terms say how lists differ."""
        squares = np.einsum("ij,ij->i", centroids, centroids)
        return self._blocks(arranged, key, True, squares)

    def _blocks(
        self, arranged: NDArray[Any], key: str, residual: bool, squares: Floats
    ) -> Any:
        return rabitq.Blocks(
            arranged, self._rotation, self.centre_, self.bits, key == "l2", residual,
            squares,
        )  # fmt: skip

    def scan_query_size(self, d: int) -> int:
        """Return the room for tables as well."""
        return rabitq.scan_query_size(d)
