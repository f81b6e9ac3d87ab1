"""Which adapter of ours a wrapper class of ann-benchmarks or VIBE stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from experiments import indexes
from experiments.interop.definitions import Definition
from experiments.strict import ConfigError, check

Params = dict[str, Any]
_WIDTH = "its codes depend on the width: give --dimension"
_NAMES = {
    "efConstruction": "ef_construction",
    "ef": "ef_search",
    "n_list": "nlist",
    "n_probe": "nprobe",
    "k_reorder": "k_factor",
    "search_window_size": "window_size",
}
_UNUSED = ("metric", "dimension")  # the dataset tells them


class TranslationError(ValueError):
    """A definition that no adapter can run; the message says why."""


@dataclass(frozen=True)
class Entry:
    """An index of ours at one choice of parameters, and the settings to search with.

    ``group`` is that of the runs it was part of.
    """

    library: str
    kind: str
    build: Params
    searches: tuple[Params, ...]
    group: str = ""


@dataclass(frozen=True)
class Wrapper:
    """A wrapper class: the adapter, and the names of its parameters by position.

    ``home`` is the last part of its module's name, where the class's own is not enough
    to know it by. Parameters in ``fixed`` have no counterpart here, and must have the
    value that the adapter implies.
    """

    library: str
    kind: str
    arguments: tuple[str, ...] = ("metric",)
    query: tuple[str, ...] = ()
    home: str = ""
    fixed: Mapping[str, Any] = field(default_factory=dict)


def _ours(kind: str, *query: str) -> Wrapper:
    return Wrapper("ann", kind, ("metric", "dimension"), query, home="ann")


WRAPPERS = {
    "HnswLib": Wrapper("hnswlib", "HNSW", query=("ef",)),
    "FaissFlat": Wrapper("faiss", "Flat"),
    "FaissHNSW": Wrapper("faiss", "HNSW", query=("ef",)),
    "FaissIVF": Wrapper("faiss", "IVFFlat", ("metric", "n_list"), ("n_probe",)),
    "FaissIVFPQfs": Wrapper(
        "faiss",
        "IVFPQFastScan",
        ("metric", "n_list", "dim_reduction"),
        ("n_probe", "k_reorder"),
        fixed={"dim_reduction": 0},
    ),
    "Annoy": Wrapper("annoy", "Forest", ("metric", "n_trees"), ("search_k",)),
    "PyNNDescent": Wrapper("pynndescent", "NNDescent", query=("epsilon",)),
    "USearch": Wrapper(
        "usearch",
        "HNSW",
        ("metric", "accuracy"),
        ("ef",),
        fixed={"accuracy": "f32"},
    ),
    "Voyager": Wrapper("voyager", "HNSW", query=("ef",)),
    "SVSVamana": Wrapper("svs", "Vamana", query=("search_window_size",)),
    "BruteForce": Wrapper("sklearn", "Brute"),
    "Flat": _ours("Flat"),
    "HNSW": _ours("HNSW", "ef_search"),
    "IVF": _ours("IVF", "nprobe"),
    "IVFPQ": _ours("IVF", "nprobe"),
}


def translate(definition: Definition, d: int | None) -> list[Entry]:
    """Return what a definition is here, checked by the adapters' own schemas.

    Parameters
    ----------
    definition : the algorithm
    d : width of the vectors, if that is known

    Raises
    ------
    TranslationError
        When there is no adapter, or it lacks a parameter.
    """
    wrapper = _find(definition)
    build = _named(definition.arguments, wrapper.arguments, wrapper.fixed)
    if definition.constructor == "IVFPQ":
        build = _with_codec(build, d)
    searches = tuple(
        _named(query, wrapper.query, wrapper.fixed) for query in definition.queries
    )
    group = f"{definition.name} {definition.group}"
    entry = Entry(wrapper.library, wrapper.kind, build, searches or ({},), group)
    entries = list(_fast_scan(entry, d)) if entry.kind == "IVFPQFastScan" else [entry]
    for each in entries:
        _check(each)
    return entries


def _find(definition: Definition) -> Wrapper:
    wrapper = WRAPPERS.get(definition.constructor)
    home = definition.module.rpartition(".")[2]
    if wrapper is None or wrapper.home not in ("", home):
        raise TranslationError(f"no adapter stands for {definition.constructor}")
    return wrapper


def _named(values: Any, positions: Sequence[str], fixed: Mapping[str, Any]) -> Params:
    """Return arguments under our names, without those that the dataset tells."""
    found: Params = {}
    for i, value in enumerate([values] if isinstance(values, Mapping) else values):
        if isinstance(value, Mapping):
            found |= value
        elif i < len(positions):
            found[positions[i]] = value
        else:
            raise TranslationError(f"argument {i + 1} has no name here, got {value!r}")
    for name, only in fixed.items():
        if (got := found.pop(name, only)) != only:
            raise TranslationError(f"{name} must be {only!r} here, got {got!r}")
    return {
        _NAMES.get(name, name): value
        for name, value in found.items()
        if name not in _UNUSED
    }


def _with_codec(build: Params, d: int | None) -> Params:
    """Return the parameters of our wrapper's IVFPQ as those of IVF with a codec."""
    names = ("m", "nbits", "opq")
    codec = {"kind": "PQ"} | {name: build[name] for name in names if name in build}
    if "m" not in codec:
        if d is None:
            raise TranslationError(_WIDTH)
        codec["m"] = max(m for m in range(1, max(d // 2, 1) + 1) if d % m == 0)
    return {k: v for k, v in build.items() if k not in names} | {"codec": codec}


def _fast_scan(entry: Entry, d: int | None) -> Iterator[Entry]:
    """Yield the index that scores again, and the one that ``k_factor`` 0 asks for."""
    plain = tuple(s for s in entry.searches if s.get("k_factor") == 0)
    again = tuple(s for s in entry.searches if s.get("k_factor") != 0)
    if again:
        yield replace(entry, searches=again)
    if plain:
        if d is None:
            raise TranslationError(_WIDTH)
        factory = f"IVF{entry.build.get('nlist')},PQ{d // 2}x4fs"
        searches = tuple({"nprobe": search.get("nprobe")} for search in plain)
        build = {"factory": factory}
        yield replace(entry, kind="Factory", build=build, searches=searches)


def _check(entry: Entry) -> None:
    try:
        adapter = indexes.find(entry.library, entry.kind, "")
        check(adapter.Build, entry.build)
        for search in entry.searches:
            check(adapter.Search, search)
    except ConfigError as error:
        raise TranslationError(str(error).replace("\n", "; ")) from None
