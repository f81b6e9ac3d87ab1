"""Zero-shot: name handwritten digits with no handwritten example, only print.

The prototypes are the digits of the fonts that come with Matplotlib, and a handwritten
digit is what its nearest prototype is. Two tricks need no label either: prototypes at
several slants, since people write aslant; and then all handwritten digits ask their
handwritten neighbours what these take themselves for, and follow the majority.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import ann
from experiments.lessons.looks import BLUE, ORANGE
from experiments.plots.style import INK
from experiments.uses import digits
from experiments.uses.classification import votes
from experiments.uses.shown import Shown, mosaic, percents, picture, say

if TYPE_CHECKING:
    from PIL.Image import Image

    from experiments.lessons.notebook import Notebook
    from experiments.lessons.sets import Floats
    from experiments.plots.panel import Panel

SLANTS = (-0.3, -0.15, 0.0, 0.15, 0.3)
WIDEST = 7  # columns of a prototype: no handwritten digit fills all eight

_FAMILIES = ("DejaVuS*", "STIXGeneral*", "cm[brst]*")  # others have no letters
_NEIGHBOURS, _ROUNDS = 20, 5
_POINTS = 64  # height of what is drawn, before it is made small


def use(notes: Notebook) -> Shown:
    """Name the digits by print, and by what their neighbours were named."""
    X, y = digits.load(notes)
    upright, slanted = prototypes((0.0,)), prototypes(SLANTS)

    named = {
        "one font": _nearest(upright[:, :1], X),
        f"{upright.shape[1]} fonts": _nearest(upright, X),
        f"at {len(SLANTS)} slants": _nearest(slanted, X),
    }
    index = ann.HNSW("cosine", seed=notes.seed).add(X, threads=notes.threads)
    near, _ = index.search(X, k=1 + _NEIGHBOURS)
    guess = named[f"at {len(SLANTS)} slants"]
    for _ in range(_ROUNDS):
        guess = votes(guess[near[:, 1:]]).argmax(axis=1)
    named["and neighbours"] = guess

    right = {step: float((names_ == y).mean()) for step, names_ in named.items()}
    confused = np.zeros((10, 10))
    np.add.at(confused, (y, guess), 1)
    return Shown(
        "Handwriting read with no handwritten example: by print, and by each other",
        [f"{len(X):,} handwritten digits", f"{slanted[..., 0].size:,} prototypes",
         "HNSW, cosine"],
        "Left: prototypes, upright and at two of the slants. Middle: the share named "
        f"right; dotted, what guessing gets. The last step asks {_NEIGHBOURS} "
        f"neighbours, {_ROUNDS} times over. Right: after that step, how many percent of "
        "each digit were given each name.",
        {f"accuracy, {step}": share for step, share in right.items()},
        {
            "print – what there is to go by": partial(_prototypes, slanted),
            "steps – accuracy": partial(_steps, right),
            "confusion – which digits are taken for which": partial(
                percents, confused, "named", "written"
            ),
        },
    )  # fmt: skip


def prototypes(slants: tuple[float, ...]) -> Floats:
    """Draw the ten digits in all fonts: (10, fonts * slants, 64), from 0 to 1."""
    import matplotlib as mpl

    home = Path(mpl.get_data_path()) / "fonts" / "ttf"
    found = (path for family in _FAMILIES for path in home.glob(f"{family}.ttf"))
    fonts = sorted(path for path in found if "Display" not in path.stem)
    drawn = [
        [_drawn(str(digit), font, slant) for font in fonts for slant in slants]
        for digit in range(10)
    ]
    return np.array(drawn, np.float32).reshape(10, -1, digits.SIDE**2)


def _drawn(text: str, font: Path, slant: float) -> Floats:
    from PIL import Image, ImageDraw, ImageFont

    page: Image = Image.new("L", (3 * _POINTS, 2 * _POINTS))
    pen = ImageFont.truetype(str(font), _POINTS)
    ImageDraw.Draw(page).text((_POINTS, _POINTS // 2), text, fill=255, font=pen)
    shear = (1, slant, -slant * _POINTS, 0, 1, 0)
    page = page.transform(page.size, Image.Transform.AFFINE, shear)
    page = page.crop(page.getbbox())
    side = digits.SIDE
    wide = max(1, min(WIDEST, round(side * page.width / page.height)))
    small = page.resize((wide, side), Image.Resampling.BOX)
    image = np.zeros((side, side), np.float32)
    left = (side - wide) // 2
    image[:, left : left + wide] = np.asarray(small) / 255
    return image


def _nearest(of: Floats, X: Floats) -> np.ndarray:
    """Return the digit of the nearest prototype: rows 0 to m are zeros, and so on."""
    ids, _ = ann.Flat("cosine").add(of.reshape(-1, of.shape[-1])).search(X, k=1)
    return ids[:, 0] // of.shape[1]


def _prototypes(of: Floats, panel: Panel) -> None:
    some = of.reshape(10, -1, len(SLANTS), of.shape[-1])[:, ::3, [0, 2, 4]]
    rows = some.reshape(10, -1, of.shape[-1]).swapaxes(0, 1)[:11]
    sheet = mosaic(digits.images(rows.reshape(-1, of.shape[-1])), 10, paper=0, rim=2)
    picture(panel.ax, sheet)


def _steps(right: dict[str, float], panel: Panel) -> None:
    panel.ax.barh(range(len(right)), right.values(), 0.55, color=BLUE)
    for row, share in enumerate(right.values()):
        say(panel.ax, (share, row), f"{share:.0%}", INK, va="center", xytext=(5, 0))
    panel.ax.axvline(0.1, color=ORANGE, ls=":", lw=1.4)
    panel.ax.set_yticks(range(len(right)), right)
    panel.ax.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    panel.ax.set_xlim(0, 1)
    panel.ax.invert_yaxis()
    panel.ax.grid(False, axis="y")
