"""Recommendation: whoever used these also used those, by inner product.

The data are source files, and which names of NumPy each of them uses: files are the
users, names are the items. A factorisation gives both vectors whose inner product says
how well they go together, and an item's length comes out as its popularity. The trick
is to leave the length alone, or not: by ``ip`` the popular win, by ``cosine`` the
peculiar, and no error message tells the two apart. One name is hidden from each file.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import ann
from experiments.lessons.looks import BLUE
from experiments.lessons.sets import Set
from experiments.plots.style import INK
from experiments.uses import panels, sources
from experiments.uses.shown import Shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.lessons.notebook import Notebook
    from experiments.lessons.sets import Floats
    from experiments.plots.panel import Panel
    from experiments.uses.panels import Painter

    Ids = NDArray[np.int64]

RANK = 8  # columns of the factors
K = 10
FEWEST = 5  # names of a file, and files of a name
EXAMPLES = ("scipy.fft._basic", "scipy.spatial._procrustes", "matplotlib.quiver")
POPULAR = "most popular"  # what needs no vectors: the same for everybody

_NAME = re.compile(r"\bnp\.([a-z]\w+)")


class Usage(NamedTuple):
    """Which of the ``items`` each of the ``users`` has: (users, items) of 0 and 1."""

    users: list[str]
    items: list[str]
    uses: Floats


def use(notes: Notebook) -> Shown:
    """Hide one item of each user; see who finds it, and what else is recommended."""
    usage = of_numpy()
    seen, hidden = hide(usage.uses, notes.seed)
    users, items = factors(seen)
    source = "source files of Python libraries: np.NAME"
    notes.use(Set("names of NumPy", items, users, source))

    popularity = seen.sum(axis=0)
    order = np.argsort(-popularity, kind="stable")
    found = {POPULAR: fresh(np.tile(order, (len(users), 1)), seen)}
    for metric in ("ip", "cosine"):
        index = ann.HNSW(metric, seed=notes.seed).add(items, threads=notes.threads)
        near, _ = index.search(users, k=len(items), ef_search=len(items))
        found[metric] = fresh(near, seen)

    rare = popularity[hidden] < np.median(popularity[hidden])
    hits = {way: (ids == hidden[:, None]).any(axis=1) for way, ids in found.items()}
    lengths = np.linalg.norm(items, axis=1)
    merits = {"names": float(len(items))}
    for way, hit in hits.items():
        merits[f"hidden name found, {way}"] = float(hit.mean())
        merits[f"a rare one found, {way}"] = float(hit[rare].mean())
        merits[f"names ever recommended, {way}"] = float(len(np.unique(found[way])))
    return Shown(
        "The popular or the peculiar? By inner product, or by cosine",
        [f"{len(users)} source files", f"{len(items)} names of NumPy",
         f"{RANK} columns", "HNSW, ip and cosine"],
        "Left: each dot is a name. Middle: how often the name that was hidden from a "
        f"file is among the {K} recommended, for the popular and the rarer half of "
        "those hidden. Right: of three files, what comes first, by ip and by cosine.",
        merits,
        {
            "length – is popularity": _lengths(popularity, lengths, usage.items),
            "found – the hidden name, among ten": panels.bars(
                [*hits],
                {"a popular name": [float(hit[~rare].mean()) for hit in hits.values()],
                 "a rare name": [float(hit[rare].mean()) for hit in hits.values()]},
            ),
            "recommended – by ip, by cosine": panels.listing(_examples(usage, found)),
        },
        gap=1.05,
    )  # fmt: skip


def of_numpy() -> Usage:
    """Read which names of NumPy each source file uses."""
    found = {
        module: set(_NAME.findall(source))
        for module, source in sources.modules(sources.LIBRARIES)
    }
    counts = Counter(name for used in found.values() for name in used)
    items = sorted(name for name, count in counts.items() if count >= FEWEST)
    kept = {module: used.intersection(items) for module, used in found.items()}
    users = [module for module, used in kept.items() if len(used) >= FEWEST]
    rows = [[name in kept[module] for name in items] for module in users]
    return Usage(users, items, np.array(rows, np.float32))


def hide(uses: Floats, seed: int) -> tuple[Floats, Ids]:
    """Take one item away from each user; return what is left, and which it was."""
    rng = np.random.default_rng(seed)
    hidden = np.array([rng.choice(np.flatnonzero(row)) for row in uses])
    seen = uses.copy()
    seen[np.arange(len(seen)), hidden] = 0
    return seen, hidden


def factors(seen: Floats) -> tuple[Floats, Floats]:
    """Factor a matrix: vectors of users and of items, whose products are nearly it."""
    from sklearn.utils.extmath import randomized_svd

    left, sizes, right = randomized_svd(seen, RANK, random_state=0)
    root = np.sqrt(sizes)
    return (left * root).astype(np.float32), (right.T * root).astype(np.float32)


def fresh(near: Ids, seen: Floats) -> Ids:
    """Return the first K of each row that the user does not have yet."""
    known = np.take_along_axis(seen, near, axis=1) > 0
    order = np.argsort(known, axis=1, kind="stable")
    return np.take_along_axis(near, order, axis=1)[:, :K]


def _lengths(popularity: Floats, lengths: Floats, items: list[str]) -> Painter:
    def paint(panel: Panel) -> None:
        panel.ax.loglog(popularity + 1, lengths, ".", color=BLUE, ms=4, alpha=0.6)
        for name in ("array", "sqrt", "hypot"):
            if name in items:
                at = items.index(name)
                place: dict[str, Any] = {"ha": "right", "xytext": (-5, 3)}
                spot = float(popularity[at]) + 1, float(lengths[at])
                panels.say(panel.ax, spot, name, INK, **place)
        panels.names(panel.ax, "files that use it", "length of its vector")

    return paint


def _examples(usage: Usage, found: dict[str, Ids]) -> list[list[str]]:
    rows = [usage.users.index(name) for name in EXAMPLES if name in usage.users]
    return [
        [usage.users[row]]
        + [
            ", ".join(usage.items[i] for i in found[metric][row, :4])
            for metric in ("ip", "cosine")
        ]
        for row in rows
    ]
