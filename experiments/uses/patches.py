"""Search by image patch: point at a piece of a photograph, and find more of its kind.

The data are all windows of scikit-learn's two photographs, at half their size. Two
pieces are pointed at: a bit of a roof, and a bit of a petal. The trick is in what comes
after the search: the nearest windows of a window are itself, moved by a few pixels, so
of all that overlap only the best is kept. The metric decides what a kind is: by ``l2``
colour and brightness count, by ``cosine``, once their mean is off, the pattern alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.patches import Rectangle

import ann
from experiments.datasets import embedded
from experiments.lessons.sets import Set
from experiments.plots.style import INK
from experiments.uses import panels
from experiments.uses.shown import Shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.lessons.notebook import Notebook
    from experiments.lessons.sets import Floats
    from experiments.plots.panel import Panel
    from experiments.uses.panels import Painter

    Places = NDArray[np.int64]
    Found = dict[tuple[str, str], Places]  # by what was pointed at, and the metric

SIDE, STEP = 12, 3  # pixels of a window, and from one to the next
POINTED = {"a roof": (0, 126, 110), "a petal": (1, 120, 200)}  # photograph, top, left
K, MANY = 7, 400  # windows to show, and to search for
_ASKED = 200  # windows, by chance, that tell photographs apart


class Windows(NamedTuple):
    """Windows (n, 432), and where each was cut: photograph, top, left (n, 3)."""

    X: Floats
    places: Places


def use(notes: Notebook) -> Shown:
    """Search for two pieces by two metrics; ask by chance whose photograph it is."""
    photographs = np.stack([half(image) for image in embedded.photographs()])
    all_ = windows(photographs)
    rng = np.random.default_rng(notes.seed)
    order = np.sort(rng.permutation(len(all_.X))[: notes.n])
    X, places = all_.X[order], all_.places[order]
    source = "scikit-learn load_sample_images: windows of 12x12 pixels at half size"
    notes.use(Set("windows", X, X[:0], source))

    patterns = X - X.mean(axis=1, keepdims=True)
    indexes = {
        "l2": (ann.HNSW("l2", seed=notes.seed), X),
        "cosine": (ann.HNSW("cosine", seed=notes.seed), patterns),
    }
    found, merits = {}, {"windows": float(len(X))}
    for metric, (index, V) in indexes.items():
        index.add(V, threads=notes.threads)
        for name, spot in POINTED.items():
            row = nearest_place(places, spot)
            ids, _ = index.search(V[row], k=min(MANY, len(X)))
            found[name, metric] = places[apart(ids, places)[: 1 + K]]
        asked = rng.choice(len(X), _ASKED, replace=False)
        ids, _ = index.search(V[asked], k=min(MANY, len(X)))
        own = [places[apart(row, places)[1:2], 0] == places[row[0], 0] for row in ids]
        merits[f"same photograph, {metric}"] = float(np.concatenate(own).mean())
        exact, _ = index.exact(V[asked], k=10)
        same = (ids[:, :10, None] == exact[:, None]).any(axis=2)
        merits[f"recall@10, {metric}"] = float(same.mean())
    return Shown(
        "Two pieces pointed at, and where else there is something of the kind",
        [f"{len(X):,} windows of 12 × 12 pixels", "432 columns", "HNSW, l2 and cosine"],
        f"Left and middle: the {K} nearest by l2 that do not overlap. Right: first the "
        "piece, then what was found, nearest first; cosine is of windows without their "
        "mean brightness, and finds patterns.",
        merits,
        {
            f"{name} – in the thick frame": _places(photographs, found[name, "l2"])
            for name in POINTED
        }
        | {"pieces – the nearest, by two metrics": _pieces(photographs, found)},
        height=2.45,
        left=0.15,
        gap=0.3,
    )


def half(image: NDArray[np.uint8]) -> Floats:
    """Return an image (h, w, 3) at half its size, from 0 to 1: means of four pixels."""
    high, wide = (side // 2 * 2 for side in image.shape[:2])
    fours = image[:high, :wide].reshape(high // 2, 2, wide // 2, 2, 3)
    smaller: Floats = (fours.mean(axis=(1, 3)) / 255).astype(np.float32)
    return smaller


def windows(photographs: Floats) -> Windows:
    """Cut all windows of photographs (m, h, w, 3)."""
    views = np.lib.stride_tricks.sliding_window_view(photographs, (SIDE, SIDE), (1, 2))
    views = views[:, ::STEP, ::STEP]
    places = np.indices(views.shape[:3]).reshape(3, -1).T * (1, STEP, STEP)
    X = views.transpose(0, 1, 2, 4, 5, 3).reshape(len(places), -1)
    return Windows(np.ascontiguousarray(X), places)


def nearest_place(places: Places, spot: tuple[int, int, int]) -> int:
    """Return the row of the window that was cut where one points, or beside it."""
    far = np.abs(places - spot) * (10_000, 1, 1)
    return int(far.sum(axis=1).argmin())


def apart(ids: Places, places: Places) -> list[int]:
    """Return the ids, best first, without those that overlap a better one."""
    kept: list[int] = []
    for i in ids:
        photograph, *corner = places[i]
        others = places[kept]
        near = (np.abs(others[:, 1:] - corner) < SIDE).all(axis=1)
        if not (near & (others[:, 0] == photograph)).any():
            kept.append(int(i))
    return kept


def _places(photographs: Floats, found: Places) -> Painter:
    """Show the photograph that was pointed at, and the places in it."""
    which = found[0, 0]

    def paint(panel: Panel) -> None:
        panels.picture(panel.ax, photographs[which])
        for rank, (_, top, left) in enumerate(found[found[:, 0] == which]):
            corner, thick = (left - 0.5, top - 0.5), 1.3 if rank else 2.8
            frame = Rectangle(corner, SIDE, SIDE, fill=False, ec="white", lw=thick)
            panel.ax.add_patch(frame)
        if elsewhere := int((found[:, 0] != which).sum()):
            text = f"and {elsewhere} in the other photograph"
            panels.inside(panel.ax, (0, -0.06), text, INK)

    return paint


def _pieces(photographs: Floats, found: Found) -> Painter:
    rows = sorted(found, key=lambda row: list(POINTED).index(row[0]))
    cut = [
        photographs[which, top : top + SIDE, left : left + SIDE]
        for row in rows
        for which, top, left in found[row]
    ]
    told = [metric for _, metric in rows]
    return panels.gallery(np.array(cut), 1 + K, told, line=True)
