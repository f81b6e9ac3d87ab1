"""From a file to the index that was saved in it.

What each structure keeps is in its ``_saved_held``, what has to hold for it to come
back in its ``_restored``; the file itself is :mod:`ann.storage`'s.
"""

import os
from typing import Any

from ann import guard, storage, validation
from ann.codecs import PQ, SQ, Codec, RaBitQ
from ann.flat import Flat
from ann.hnsw import HNSW
from ann.index import Index
from ann.ivf import IVF
from ann.metrics import metric as metric_named
from ann.qg import QG
from ann.storage import StorageError
from ann.stored import Stored
from ann.transforms import PCA, Transform, Truncate

KINDS: dict[str, type[Index]] = {"Flat": Flat, "IVF": IVF, "HNSW": HNSW, "QG": QG}
PARTS: dict[str, dict[str, type[Codec | Transform]]] = {
    "codec": {"PQ": PQ, "SQ": SQ, "RaBitQ": RaBitQ},
    "transform": {"PCA": PCA, "Truncate": Truncate},
}


def load(
    path: str | os.PathLike[str],
    *,
    mmap: bool = False,
    verify: bool | None = None,
    metric: str | None = None,
) -> Any:
    """Return an index that was saved.

    Parameters
    ----------
    path : path-like
    mmap : bool
        Map the file instead of reading it: an index of any size opens in milliseconds,
        and processes that map the same file share its memory. Changes stay in this
        process. The file may be replaced by another ``save`` meanwhile, but must
        not be changed in place.
    verify : bool, optional
        Compare all arrays with their checksums. By default all of them, but of mapped
        ones only those of at most 1 MiB; what is not compared may give wrong
        results, but not a crash, and is compared before the index is changed. What is
        not mapped is also asked a few known queries, unless this is False.
    metric : str, optional
        The one that you are going to think in: an error if the index has another.

    Returns
    -------
    Flat, IVF, HNSW or QG

    Raises
    ------
    StorageError
        Not an index, damaged, or of a newer version; a ``ValueError``.
    ValueError
        ``mmap`` or ``verify`` is no boolean; ``metric`` is not that of the index.
    OSError
        The file cannot be read.
    """
    mmap = validation.boolean(mmap, "mmap")
    verify = None if verify is None else validation.boolean(verify, "verify")
    manifest, arrays, compare = storage.contents(path, mmap=mmap, verify=verify)
    try:
        stored = Stored(manifest, arrays)
        index = _made(stored)
        index._restore(stored)
        stored.finish()
        if not (mmap or verify is False) and (fault := index._sung()):
            raise StorageError(f"{fault}; verify=False opens it all the same")
    except ValueError as error:
        raise StorageError(f"{os.fsdecode(path)}: {error}") from None
    if metric is not None and metric_named(metric).name != index.metric:
        raise ValueError(
            f"metric must be that of the index in {os.fsdecode(path)}, "
            f"{index.metric!r}, got {metric!r}"
        )
    if mmap and not verify:
        index._unverified = compare
    return index


def _made(stored: Stored) -> Index:
    """Return the empty index that a manifest describes."""
    kind = stored.one_of("kind", KINDS)
    params = stored.table("params")
    params["norm_check"] = stored.one_of("norm_check", guard.CHECKS, missing="warn")
    try:
        for name, kinds in PARTS.items():
            if params.get(name) is not None:
                own = dict(params[name])
                params[name] = kinds[own.pop("kind")](**own)
        return KINDS[kind](**params)
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
        raise StorageError(f"params must be those of {kind}: {error}") from None
