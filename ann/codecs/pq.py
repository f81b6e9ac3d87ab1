"""Product quantization.

Jégou, Douze & Schmid, "Product quantization for nearest neighbor search", IEEE TPAMI
2011. The rotation: Ge, He, Ke & Sun, "Optimized product quantization", CVPR 2013.
"""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ann import kmeans, parallel, validation
from ann.codecs.base import Codec, Codes, Floats, Labels, Sizes, pack_nibbles
from ann.kernels import cluster, fastscan, rows, stores
from ann.kernels.tricks import on
from ann.memory import aligned_copy
from ann.metrics import Metric

_PER_CODEWORD = 256  # training vectors at most
_ITERATIONS = 15
_ROTATIONS = 8  # rounds of the rotation's search …
_ROUND_ITERATIONS = 4  # … each with so many of k-means
_ENCODE_CHUNK = 1024
_KINDS = {"l2": stores.TABLE_L2, "dot": stores.TABLE_DOT, "l1": stores.TABLE_L1}


class PQ(Codec):
    """Product quantizer: ``m`` subvectors, each named by the nearest of ``2**nbits``.

    A query's distance to a code is a sum of ``m`` entries of its asymmetric distance
    table (``adc_table``), so no vector is decoded.

    Parameters
    ----------
    m : int
        Subspaces; must divide the width of the vectors. At most 32,768 with 4 bits.
    nbits : {8, 4}
        Bits a subspace: 256 or 16 codewords. A code takes ``m`` bytes, or
        ``4 ceil(m / 4) / 2`` in blocks of 32, of which each list of an IVF has one
        that is not full. ``Flat`` and ``IVF`` scan 4-bit codes by FastScan
        (:mod:`ann.kernels.fastscan`), whose tables are rounded to 8 bits: distances
        that no refinement follows are off by up to m/2 of their steps.
    opq : bool
        Learn a rotation that spreads what there is to code evenly over the subspaces
        (OPQ, the non-parametric method). Not for ``l1``, which no rotation preserves.
    seed : int
        Of the training sample and the start of k-means.

    Attributes
    ----------
    codebooks_ : (m, ksub, dsub) float32
        After ``train``. Where there were fewer than ``ksub`` training vectors, some
        codewords are equal.
    rotation_ : (d, d) float32
        With ``opq``: codes describe ``x @ rotation_``.

    Notes
    -----
    Vectors are coded about a middle of the codewords, so what all have in common costs
    no accuracy beyond what float32 itself loses there. Files need not tell it.

    Examples
    --------
    >>> pq = PQ(m=8).train(X)
    >>> codes = pq.encode(X)  # (n, m) uint8
    >>> approximately_X = pq.decode(codes)
    """

    _learned: ClassVar[tuple[str, ...]] = ("codebooks_", "rotation_")

    def __init__(
        self, m: int, nbits: int = 8, *, opq: bool = False, seed: int = 0
    ) -> None:
        self.nbits = validation.one_of(nbits, "nbits", (8, 4))
        most = fastscan.MOST_TABLES if nbits == 4 else None
        self.m = validation.integer(m, "m", 1, most)
        self.opq = validation.boolean(opq, "opq")
        self.seed = validation.integer(seed, "seed", 0)

    @property
    def params(self) -> dict[str, Any]:
        """The constructor's parameters, with the codec's ``kind``."""
        own = {"m": self.m, "nbits": self.nbits, "opq": self.opq, "seed": self.seed}
        return {"kind": "PQ", **own}

    @property
    def is_trained(self) -> bool:
        """Whether ``train`` has run."""
        return hasattr(self, "codebooks_")

    @property
    def ksub(self) -> int:
        """Codewords of a subspace."""
        return int(2**self.nbits)

    @property
    def fewest(self) -> int:
        """As many as codewords, and 32 at least."""
        return max(self.ksub, 32)

    def check_width(self, d: int) -> None:
        """Raise ValueError unless ``m`` divides ``d``; the message lists what does."""
        super().check_width(d)
        if d % self.m:
            divisors = [m for m in range(1, d + 1) if d % m == 0]
            raise ValueError(f"m must divide d={d}: one of {divisors}, got {self.m}")

    def check_metric(self, metric: Metric) -> None:
        """Raise ValueError for a rotation under ``l1``."""
        if self.opq and metric.name == "l1":
            raise ValueError(
                "opq must be False under the l1 metric, which no rotation preserves, "
                "got True"
            )

    def adc_table(self, q: NDArray[np.float32]) -> Floats:
        """Return the squared distances of a query's parts to all codewords.

        Parameters
        ----------
        q : (d,) array

        Returns
        -------
        adc_table : (m, ksub) float32
            ``adc_table[j, codes[i, j]]`` summed over j is the squared distance between
            ``q`` and the decoded vector i (Sec. III-A).

        Raises
        ------
        ValueError
            Not trained, or ``q`` is not finite, of another shape, or longer than 4e18.
        """
        self._check_trained()
        query = validation.vector(q, "q", self.d)
        self._check_norms(query, "q")
        parts = self.project(query).reshape(self.m, 1, -1)
        table: Floats = np.square(self.codebooks_ - parts).sum(axis=2, dtype=np.float32)
        return table

    # --- training ---------------------------------------------------------------------

    def _fit(self, X: Floats, threads: int) -> None:
        rng = np.random.default_rng(self.seed)
        X = kmeans.sample(X, _PER_CODEWORD * self.ksub, rng)
        centre = kmeans.middle(X)
        X = X - centre
        codebooks = None
        if self.opq:
            # Alternate: codebooks for the rotation, then the rotation for the codes
            # (orthogonal Procrustes), starting from the data's own axes.
            rotation = np.eye(X.shape[1], dtype=np.float32)
            _, exponent = np.frexp(np.abs(X).max())
            unit = np.float32(2.0 ** min(126, -int(exponent)))  # rounds nothing
            for _ in range(_ROTATIONS):
                rotated = _rotated(X, rotation, threads)
                codebooks = self._train_codebooks(
                    rotated, codebooks, rng, _ROUND_ITERATIONS, threads
                )
                decoded = _decode(_encode(rotated, codebooks, threads), codebooks)
                with parallel.serial_blas():  # or the threads would show in the sum
                    u, _, vt = np.linalg.svd(unit * X.T @ (unit * decoded))
                    rotation = np.ascontiguousarray(u @ vt, dtype=np.float32)
            self.rotation_ = rotation
            X = _rotated(X, rotation, threads)
        codebooks = self._train_codebooks(X, codebooks, rng, _ITERATIONS, threads)
        self.codebooks_ = codebooks + self._parts(centre)

    def _parts(self, x: Floats) -> Floats:
        """Return a vector (d,) where codewords are: rotated, and cut (m, 1, dsub)."""
        if self.opq:
            x = (x.astype(np.float64) @ self.rotation_).astype(np.float32)
        return x.reshape(self.m, 1, -1)

    def _about_centre(self) -> tuple[Floats, Floats]:
        """Return what to take off vectors that are coded, and the codewords less it.

        It is a middle of the codewords. Far from 0, ‖x − w‖² by products would cancel,
        and so would a rotation's sums.
        """
        middle = kmeans.middle(
            self.codebooks_.transpose(1, 0, 2).reshape(self.ksub, -1)
        )
        if self.opq:
            middle = (self.rotation_.astype(np.float64) @ middle).astype(np.float32)
        return middle, self.codebooks_ - self._parts(middle)

    def _train_codebooks(
        self,
        X: Floats,
        before: Floats | None,
        rng: np.random.Generator,
        iterations: int,
        threads: int,
    ) -> Floats:
        """Run k-means in every subspace, from codebooks given or from k-means++."""
        dsub = X.shape[1] // self.m
        seeds = rng.integers(2**63, size=self.m)
        codebooks = np.empty((self.m, self.ksub, dsub), np.float32)

        def work(ranges: parallel.Ranges) -> None:
            for j, _ in ranges:
                part = np.ascontiguousarray(X[:, j * dsub : (j + 1) * dsub])
                if before is None:
                    own = np.random.default_rng(seeds[j])
                    few = part[own.permutation(len(part))[: 10 * self.ksub]]
                    centres = kmeans.start(few, self.ksub, own)
                else:
                    centres = before[j]

                def assign(c: Floats, part: Floats = part) -> Any:
                    return _nearest(part, 0, c)

                codebooks[j] = kmeans.lloyd(part, centres, assign, iterations)

        parallel.run(work, self.m, 1, threads)
        return codebooks

    def _shapes(self, d: int) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {
            "codebooks_": (self.m, self.ksub, d // self.m)
        }
        return {**shapes, "rotation_": (d, d)} if self.opq else shapes

    # --- coding -----------------------------------------------------------------------

    @property
    def columns(self) -> Floats | None:
        """Columns of the learned rotation."""
        return np.ascontiguousarray(self.rotation_.T) if self.opq else None

    def project(self, Q: Floats) -> Floats:
        """Return queries rotated as the codes are."""
        return _rotated(Q, self.rotation_, 1) if self.opq else Q

    def _encode(self, X: Floats, threads: int) -> Codes:
        self._check_norms(X, "X")
        centre, codebooks = self._about_centre()
        rotation = self.rotation_ if self.opq else None
        return _encode(X, codebooks, threads, centre, rotation)

    def _decode(self, codes: Codes, threads: int) -> Floats:
        if not self.opq:
            return _decode(codes, self.codebooks_)
        centre, codebooks = self._about_centre()
        back = np.ascontiguousarray(self.rotation_.T)
        return _rotated(_decode(codes, codebooks), back, threads) + centre

    def _code_width(self) -> int:
        return self.m

    @property
    def _top(self) -> int:
        return self.ksub - 1

    def pack(self, codes: Codes) -> NDArray[Any]:
        """Return (n, m) bytes, or for 4 bits (n, ceil(m / 2))."""
        if self.nbits == 8:
            return codes
        even = codes[:, 0::2]
        odd = np.zeros_like(even)
        odd[:, : self.m // 2] = codes[:, 1::2]
        return pack_nibbles(even, odd)

    def unpack(self, packed: NDArray[Any]) -> Codes:
        """Undo ``pack``."""
        if self.nbits == 8:
            return packed
        pairs = np.stack([packed & 15, packed >> 4], axis=2)
        return pairs.reshape(len(packed), 2 * packed.shape[1])[:, : self.m]

    def store(self, packed: NDArray[Any], key: str) -> Any:
        """Return the kernels' store."""
        cls = stores.PQ8 if self.nbits == 8 else stores.PQ4
        return cls(packed, self._words(), _KINDS[key])

    def query_size(self, d: int) -> int:
        """Return the size of a query's table, for whole bytes of codes."""
        m = self.m if self.nbits == 8 else self.m + self.m % 2
        return m * self.ksub

    def _words(self) -> Floats:
        """Return the codebooks (m, dsub, ksub), as the kernels read them."""
        return np.ascontiguousarray(self.codebooks_.transpose(0, 2, 1))

    # --- scans: 4-bit codes lie in blocks ---------------------------------------------

    @property
    def _in_blocks(self) -> bool:
        return self.nbits == 4 and on("fast-scan")

    @property
    def block(self) -> int:
        """32 for 4-bit codes."""
        return fastscan.BLOCK if self._in_blocks else 1

    def arrange(self, packed: NDArray[Any], sizes: Sizes) -> NDArray[Any]:
        """Return 4-bit codes in blocks of 32 (see :mod:`ann.kernels.fastscan`)."""
        if not self._in_blocks:
            return packed
        return aligned_copy(fastscan.pack_blocks(self.unpack(packed), sizes))

    def disarrange(self, arranged: NDArray[Any], sizes: Sizes) -> NDArray[Any]:
        """Undo ``arrange``."""
        if not self._in_blocks:
            return arranged
        return self.pack(fastscan.unpack_blocks(arranged, sizes, self.m))

    def scan_store(self, arranged: NDArray[Any], key: str) -> Any:
        """Return the kernels' store for a scan."""
        if not self._in_blocks:
            return self.store(arranged, key)
        return fastscan.FastScan(arranged, self._words(), _KINDS[key], None)

    def scan_query_size(self, d: int) -> int:
        """Return the size of a query's tables in a scan."""
        if not self._in_blocks:
            return self.query_size(d)
        return fastscan.query_size(self.m)

    # --- residuals of an IVF ----------------------------------------------------------

    def codes_residuals(self, metric: Metric) -> bool:
        """Not under ``l1``, where a residual's table differs from list to list."""
        return metric.name != "l1"

    def has_cross(self, key: str) -> bool:
        """Under ``l2``."""
        return key == "l2"

    def related(
        self, codes: Codes, residuals: Floats, labels: Labels, centroids: Floats,
        key: str, threads: int,
    ) -> tuple[Codes, Floats]:  # fmt: skip
        """Return the codes, and ‖r̂‖² + 2⟨c, r̂⟩ of each one's vector r̂ under ``l2``."""
        if not self.has_cross(key):
            return codes, np.empty(0, np.float32)
        decoded = self.decode(codes, threads=threads)
        cross: Floats = np.einsum("ij,ij->i", decoded, decoded + 2 * centroids[labels])
        return codes, cross

    def residual_store(
        self, arranged: NDArray[Any], cross: Floats, centroids: Floats, key: str
    ) -> Any:
        """Return the store of codes of ``x − centroid``.

        ``cross`` (n,) float32 is as :class:`ann.kernels.stores.ResidualL2` says.
        """
        if not self.has_cross(key):
            return self.scan_store(arranged, key)
        if not self._in_blocks:
            return stores.ResidualL2(self.store(arranged, "dot"), cross)
        words = 2 * self._words()  # a table of −2⟨q, r̂⟩
        return fastscan.FastScan(arranged, words, stores.TABLE_DOT, cross)


def _rotated(X: Floats, rotation: Floats, threads: int) -> Floats:
    """Return ``X @ rotation``, each row the same whatever the rows around it."""
    out = np.empty_like(X)
    columns = np.ascontiguousarray(rotation.T)

    def work(ranges: parallel.Ranges) -> None:
        for a, b in ranges:
            rows.rotate(X[a:b], columns, out[a:b])

    parallel.run(work, len(X), _ENCODE_CHUNK, threads)
    return out


def _nearest(
    X: Floats, first: int, codewords: Floats
) -> tuple[Floats, NDArray[np.int32]]:
    """Return each row's squared distance to, and number of, its nearest codeword."""
    keys, labels = np.empty(len(X), np.float32), np.empty(len(X), np.int32)
    words = np.ascontiguousarray(codewords.T)
    half_norms = np.square(codewords).sum(axis=1, dtype=np.float32) / 2
    cluster.nearest_codeword(X, first, words, half_norms, labels, keys)
    return keys, labels


def _encode(
    X: Floats,
    codebooks: Floats,
    threads: int,
    centre: Floats | None = None,
    rotation: Floats | None = None,
) -> Codes:
    """Return codes of rows less a centre, and then rotated."""
    m, _, dsub = codebooks.shape
    codes = np.empty((len(X), m), np.uint8)

    def work(ranges: parallel.Ranges) -> None:
        for a, b in ranges:
            part = X[a:b] if centre is None else X[a:b] - centre
            if rotation is not None:
                part = _rotated(part, rotation, 1)
            for j in range(m):
                codes[a:b, j] = _nearest(part, j * dsub, codebooks[j])[1]

    parallel.run(work, len(X), _ENCODE_CHUNK, threads)
    return codes


def _decode(codes: Codes, codebooks: Floats) -> Floats:
    m, _, dsub = codebooks.shape
    decoded = codebooks[np.arange(m), codes]  # (n, m, dsub)
    return decoded.reshape(len(codes), m * dsub)
