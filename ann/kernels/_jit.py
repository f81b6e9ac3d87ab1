"""The only file that names Numba's options, and the place of its disk cache.

Numba's disk cache does not notice an edit in *another* file: after a change in
``pool.py`` it would go on serving a beam search with the old pool compiled into it.
So the cache lives in a folder named by a hash of this package's own sources,
the vector level in force and the tricks left out. A stale kernel cannot exist.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.codegen import get_host_cpu_features
from numba.extending import overload

from ann.kernels.tricks import COMPILED, OFF

F = TypeVar("F", bound=Callable[..., Any])

# nogil: threads run kernels at the same time. error_model: a division by zero gives inf
# as in numpy, so that no exception path stands in a hot loop. _nrt: kernels allocate
# nothing, so arrays need no reference counts; counting them in every ``score`` cost two
# atomic operations an array. A kernel can then return only numbers and its arguments.
_OPTIONS: Any = {"nogil": True, "error_model": "numpy", "_nrt": False}


_NEEDS = {
    "avx512": {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512vnni"},
    "avx2": {"avx2", "fma"},
    "portable": set[str](),
}


def cpu_features() -> set[str]:
    """Return the names of the host's features that Numba compiles for.

    ``NUMBA_CPU_FEATURES`` and ``NUMBA_ENABLE_AVX`` leave some out; an instruction of
    theirs could not be compiled.
    """
    config: Any = numba.config
    flags = config.CPU_FEATURES
    if flags is None:
        flags = get_host_cpu_features()
    return {flag[1:] for flag in flags.split(",") if flag.startswith("+")}


def levels_of(features: set[str]) -> tuple[str, ...]:
    """Return the vector levels that a processor can run, the best first."""
    return tuple(level for level, needs in _NEEDS.items() if needs <= features)


def simd_level() -> str:
    """Return the vector level in force: ``avx512``, ``avx2`` or ``portable``.

    The best that the host has, unless ``ANN_SIMD`` names another.

    Raises
    ------
    ValueError
        ``ANN_SIMD`` is none of the three, or the host lacks what it names.
    """
    level = os.environ.get("ANN_SIMD") or LEVELS[0]
    if level not in LEVELS:
        raise ValueError(
            f"ANN_SIMD must be one of {list(LEVELS)} on this host, got {level!r}"
        )
    return level


# A module whose code depends on the level has a function of the level that returns a
# variant, and uses that of SIMD_LEVEL; so tests compare all of LEVELS in one process.
LEVELS = levels_of(cpu_features())
SIMD_LEVEL = simd_level()
VBMI = "avx512vbmi" in cpu_features()  # AVX-512 can permute all 64 bytes of a vector


def cache_folder() -> Path:
    """Return the folder of compiled kernels for exactly these sources."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    base = os.environ.get("NUMBA_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "ann"
    )
    variant = "-".join([SIMD_LEVEL, *(f"no-{name}" for name in sorted(OFF & COMPILED))])
    return Path(base) / f"kernels-{digest.hexdigest()[:16]}-{variant}"


def _prepare_folder(folder: Path) -> bool:
    """Make the cache's folder, forget those unused for a month; False if it cannot be.

    Numba would silently fall back to a folder that no hash of ours names.
    """
    try:
        if not folder.exists():
            for old in folder.parent.glob("kernels-*"):
                if time.time() - old.stat().st_mtime > 30 * 86_400:
                    shutil.rmtree(old, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


_CACHE_FOLDER = cache_folder()
_CACHE = os.environ.get("ANN_NUMBA_CACHE", "1") != "0" and _prepare_folder(
    _CACHE_FOLDER
)


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile lazily, release the GIL, cache on disk.

    ``ANN_NUMBA_CACHE=0`` turns the disk cache off; so does a folder that is read-only.
    """
    config: Any = numba.config
    before, config.CACHE_DIR = config.CACHE_DIR, str(_CACHE_FOLDER)
    try:
        return numba.njit(cache=_CACHE, **_OPTIONS)(function)  # reads CACHE_DIR, once
    finally:
        config.CACHE_DIR = before


def direct(function: Any, *arguments: Any) -> Callable[..., Any]:
    """Return a kernel's machine code for arguments of exactly these types.

    Its dispatcher looks at the type of every argument at every call: 2.1 µs for a
    kernel that takes 14 arrays in named tuples, of which 0.2 are the call.
    """
    code: Callable[..., Any] = function.compile(tuple(map(numba.typeof, arguments)))
    return code


# Sums of floats may be reassociated, which lets LLVM vectorise them, in an order that
# it chooses for the processor: a host gives the same bits at each of its vector levels,
# two hosts are within 2 n 2^-24 of the sum of magnitudes of each other (2^-53 for
# float64). Nothing else of fastmath is on: infinity sentinels and NaN keep their
# meaning.
reduction: Any = numba.njit(fastmath={"reassoc", "contract"}, **_OPTIONS)


def by_type(generic: Callable[..., Any]) -> Callable[[type], Callable[[F], F]]:
    """Give ``generic`` one implementation per NamedTuple class, as Numba's typing goes.

    The first argument's class decides at compile time, so a search that calls
    ``score(store, query, i)`` is compiled once per store class with no branch in its
    loop. Always inlined: LLVM may find one too long for that, and a call passes every
    field of every array; for 4-bit codes under l2 that was 14.5 instead of 4.8 ns a
    vector, and 63 instead of 24 us a query of a graph.
    """
    implementations: dict[type, Callable[..., Any]] = {}

    @overload(generic, jit_options=_OPTIONS | {"forceinline": True}, strict=False)
    def _choose(first, *rest):
        return implementations.get(getattr(first, "instance_class", type(None)))

    def register(cls: type) -> Callable[[F], F]:
        def add(function: F) -> F:
            implementations[cls] = function
            return function

        return add

    return register
