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
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import ann
from experiments.lessons.looks import BLACK, BLUE, ORANGE
from experiments.lessons.sets import Set
from experiments.plots.style import INK, SOFT
from experiments.uses import sources
from experiments.uses.shown import Shown, listing, names, say

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.lessons.notebook import Notebook
    from experiments.lessons.sets import Floats
    from experiments.plots.panel import Panel

RANK = 8  # columns of the factors
K = 10
FEWEST = 5  # names of a file, and files of a name
EXAMPLES = ("scipy.fft._basic", "scipy.spatial._procrustes", "matplotlib.quiver")

_NAME = re.compile(r"\bnp\.([a-z]\w+)")


class Usage(NamedTuple):
    """Which of the ``items`` each of the ``users`` has: (users, items) of 0 and 1."""

    users: list[str]
    items: list[str]
    uses: Floats


def use(notes: Notebook) -> Shown:
    """Hide one item of each user; see who finds it, and what else is recommended."""
    usage = _usage()
    seen, hidden = _hide(usage.uses, notes.seed)
    users, items = factors(seen)
    source = "source files of SciPy, scikit-learn, Matplotlib and NumPy: np.NAME"
    notes.use(Set("names of NumPy", items, users, source))
    popularity = seen.sum(axis=0)

    found = {}
    for metric in ("ip", "cosine"):
        index = ann.HNSW(metric, seed=notes.seed).add(items, threads=notes.threads)
        near, _ = index.search(users, k=len(items), ef_search=len(items))
        found[metric] = _fresh(near, seen)
    found["the most popular"] = _fresh(
        np.tile(np.argsort(-popularity, kind="stable"), (len(users), 1)), seen
    )
    rare = popularity[hidden] < np.median(popularity[hidden])
    merits = {"files": float(len(users)), "names": float(len(items))}
    told = []
    for way, best in found.items():
        hit = (best == hidden[:, None]).any(axis=1)
        told.append((way, float(hit[~rare].mean()), float(hit[rare].mean())))
        merits[f"hidden name found, {way}"] = float(hit.mean())
        merits[f"a rare one, {way}"] = told[-1][2]
        merits[f"names ever recommended, {way}"] = float(len(np.unique(best)))
    lengths = np.linalg.norm(items, axis=1)
    merits["correlation of length and popularity"] = float(
        np.corrcoef(np.log(lengths), np.log(popularity + 1))[0, 1]
    )
    return Shown(
        "The popular or the peculiar? Inner products and cosine recommend different things",
        [f"{len(users)} source files", f"{len(items)} names of NumPy",
         f"{RANK} columns", "HNSW, ip and cosine"],
        "Left: each dot is a name. Middle: how often the name that was hidden from a "
        f"file is among the {K} recommended, for names in the more popular and in the "
        "rarer half of those hidden. Right: of three files, the first four recommended, "
        "by ip and by cosine.",
        merits,
        {
            "length – is popularity": partial(
                _lengths, popularity, lengths, usage.items
            ),
            "found – the hidden name, among ten": partial(_found, told),
            "recommended – by ip, by cosine": partial(_examples, usage, found),
        },
        gap=1.0,
    )  # fmt: skip


def factors(seen: Floats) -> tuple[Floats, Floats]:
    """Factor a matrix: vectors of users and of items, whose products are nearly it."""
    from sklearn.utils.extmath import randomized_svd

    left, sizes, right = randomized_svd(seen, RANK, random_state=0)
    root = np.sqrt(sizes)
    return (left * root).astype(np.float32), (right.T * root).astype(np.float32)


def _usage() -> Usage:
    """Read which names of NumPy each file uses."""
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


def _hide(uses: Floats, seed: int) -> tuple[Floats, NDArray[np.int64]]:
    """Take one item away from each user; return what is left, and which it was."""
    rng = np.random.default_rng(seed)
    hidden = np.array([rng.choice(np.flatnonzero(row)) for row in uses])
    seen = uses.copy()
    seen[np.arange(len(seen)), hidden] = 0
    return seen, hidden


def _fresh(near: NDArray[np.int64], seen: Floats) -> NDArray[np.int64]:
    """Return the first K of each row that the user does not have yet."""
    known = np.take_along_axis(seen, near, axis=1) > 0
    order = np.argsort(known, axis=1, kind="stable")
    return np.take_along_axis(near, order, axis=1)[:, :K]


def _lengths(
    popularity: Floats, lengths: Floats, items: list[str], panel: Panel
) -> None:
    panel.ax.loglog(popularity + 1, lengths, ".", color=BLUE, ms=4, alpha=0.6)
    for name, place in (("array", (-30, 2)), ("sqrt", (4, -11)), ("kron", (4, -8))):
        if name in items:
            at = items.index(name)
            spot = popularity[at] + 1, lengths[at]
            say(panel.ax, spot, name, INK, xytext=place)
    names(panel.ax, "files that use it", "length of its vector")


def _found(told: list[tuple[str, float, float]], panel: Panel) -> None:
    for row, (way, common, rare) in enumerate(told):
        for at, share, colour in ((-0.17, common, BLACK), (0.17, rare, ORANGE)):
            panel.ax.barh(row + at, share, 0.3, color=colour)
            how = {"va": "center", "xytext": (4, 0)}
            say(panel.ax, (share, row + at), f"{share:.0%}", INK, **how)
        word = {"va": "center", "xytext": (-6, 0), "ha": "right"}
        say(panel.ax, (0, row), way.replace("the most ", "most\n"), INK, **word)
    panel.ax.set_yticks([])
    panel.ax.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    panel.ax.set_xlim(0, 1)
    panel.ax.invert_yaxis()
    inside = {"xycoords": "axes fraction", "xytext": (0, 0), "ha": "right"}
    say(panel.ax, (1, 0.12), "a popular name", BLACK, **inside)
    say(panel.ax, (1, 0.05), "a rare name", ORANGE, **inside)


def _examples(
    usage: Usage, found: dict[str, NDArray[np.int64]], panel: Panel
) -> None:
    lines = []
    for module in EXAMPLES:
        if module in usage.users:
            row = usage.users.index(module)
            lines.append((module, INK))
            for metric, colour in (("ip", BLUE), ("cosine", ORANGE)):
                first = ", ".join(usage.items[i] for i in found[metric][row, :4])
                lines.append((first, colour))
            lines.append(("", SOFT))
    listing(panel, lines[:-1])
