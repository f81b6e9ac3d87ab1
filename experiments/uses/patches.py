"""Search by image patch: point at a piece of a photograph, and find more of its kind.

The data are all windows of scikit-learn's two photographs, at half their size. Two
pieces are pointed at: a bit of a roof, and a bit of a petal. The trick is in what comes
after the search: the nearest windows of a window are itself, moved by a few pixels, so
of all that overlap only the best is kept. The metric decides what a kind is: by ``l2``
colour and brightness count, by ``cosine`` of what differs from the mean only the pattern.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.patches import Rectangle

import ann
from experiments.datasets import embedded
from experiments.lessons.looks import BLUE
from experiments.lessons.sets import Set
from experiments.plots.style import INK
from experiments.uses.shown import Shown, mosaic, picture, say

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.lessons.notebook import Notebook
    from experiments.lessons.sets import Floats
    from experiments.plots.panel import Panel

SIDE, STEP = 12, 3  # pixels of a window, and from one to the next
POINTED = {"a roof": (0, 126, 110), "a petal": (1, 120, 200)}  # photograph, top, left
K, MANY = 7, 400  # windows to show, and to search for
_ASKED = 200  # windows, by chance, that tell photographs apart


class Windows(NamedTuple):
    """Windows (n, 432) of photographs, and where each was cut: photograph, top, left."""

    X: Floats
    places: NDArray[np.int64]


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
        f"Left and middle: the {K} nearest by l2 that do not overlap, of the piece in the "
        "thick frame. Right: first the piece, then what was found, nearest first; cosine "
        "is of windows without their mean brightness, and finds patterns.",
        merits,
        {
            f"{name} – in the thick frame": partial(
                _places, photographs, found[name, "l2"]
            )
            for name in POINTED
        }
        | {"pieces – the nearest, by two metrics": partial(_pieces, photographs, found)},
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


def nearest_place(places: NDArray[np.int64], spot: tuple[int, int, int]) -> int:
    """Return the row of the window that was cut where one points, or beside it."""
    far = np.abs(places - spot) * (10_000, 1, 1)
    return int(far.sum(axis=1).argmin())


def apart(ids: NDArray[np.int64], places: NDArray[np.int64]) -> list[int]:
    """Return the ids, best first, without those that overlap a better one."""
    kept: list[int] = []
    for i in ids:
        photograph, *corner = places[i]
        others = places[kept]
        near = (np.abs(others[:, 1:] - corner) < SIDE).all(axis=1)
        if not (near & (others[:, 0] == photograph)).any():
            kept.append(int(i))
    return kept


def _places(photographs: Floats, found: NDArray[np.int64], panel: Panel) -> None:
    """Show the photograph that was pointed at, and the places in it."""
    which = found[0, 0]
    picture(panel.ax, photographs[which])
    for rank, (photograph, top, left) in enumerate(found):
        if photograph == which:
            look = {"fill": False, "ec": "white", "lw": 1.3 if rank else 2.8}
            panel.ax.add_patch(Rectangle((left - 0.5, top - 0.5), SIDE, SIDE, **look))
    elsewhere = int((found[:, 0] != which).sum())
    if elsewhere:
        text = f"and {elsewhere} in the other photograph"
        below = {"xycoords": "axes fraction", "xytext": (0, -14)}
        say(panel.ax, (0, 0), text, INK, **below)


def _pieces(
    photographs: Floats, found: dict[tuple[str, str], NDArray[np.int64]], panel: Panel
) -> None:
    rows = sorted(found, key=lambda row: list(POINTED).index(row[0]))
    cut = [
        photographs[which, top : top + SIDE, left : left + SIDE]
        for row in rows
        for which, top, left in found[row]
    ]
    sheet = mosaic(np.array(cut), 1 + K, rim=3)
    picture(panel.ax, sheet)
    high, wide, _ = sheet.shape
    panel.ax.plot([SIDE + 1] * 2, [-0.5, high - 0.5], color=BLUE, lw=2)
    panel.ax.set_xlim(-0.5, wide + 28)
    beside = {"xytext": (6, 0), "va": "center"}
    for row, (_, metric) in enumerate(rows):
        say(panel.ax, (wide, (SIDE + 3) * row + SIDE / 2), metric, INK, **beside)
