"""Zero-shot: name handwritten digits with no handwritten example, only print.

The prototypes are the digits of the fonts that come with Matplotlib, and a handwritten
digit is what its nearest prototype is. Two tricks need no label either: prototypes at
several slants, since people write aslant; and then all handwritten digits ask their
handwritten neighbours what these take themselves for, and follow the majority.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import ann
from experiments.uses import digits, panels
from experiments.uses.classification import ballot
from experiments.uses.shown import Shown

if TYPE_CHECKING:
    from experiments.lessons.notebook import Notebook
    from experiments.uses.digits import Floats, Labels

FAMILIES = ("DejaVuS*", "STIXGeneral*", "cm[brst]*")  # of fonts that have digits
SLANTS = (-0.3, -0.15, 0.0, 0.15, 0.3)
WIDEST = 7  # columns of a prototype: no handwritten digit fills all eight
NEIGHBOURS, ROUNDS = 20, 5

_POINTS = 64  # height of what is drawn, before it is made small


def use(notes: Notebook) -> Shown:
    """Name the digits by print, and by what their neighbours were named."""
    X, y = digits.load(notes)
    upright, slanted = prototypes((0.0,)), prototypes(SLANTS)

    named = {
        "one font": nearest(upright[:, :1], X),
        f"{upright.shape[1]} fonts": nearest(upright, X),
        f"at {len(SLANTS)} slants": nearest(slanted, X),
    }
    index = ann.HNSW("cosine", seed=notes.seed).add(X, threads=notes.threads)
    near, _ = index.search(X, k=1 + NEIGHBOURS)
    guess = named[f"at {len(SLANTS)} slants"]
    for _ in range(ROUNDS):
        guess = ballot(guess[near[:, 1:]]).argmax(axis=1)
    named["and neighbours"] = guess

    right = {step: float((names == y).mean()) for step, names in named.items()}
    confused = np.zeros((10, 10))
    np.add.at(confused, (y, guess), 1)
    some = slanted.reshape(10, -1, len(SLANTS), X.shape[1])[:, ::3, ::2]
    rows = some.reshape(10, -1, X.shape[1]).swapaxes(0, 1)[:11]
    return Shown(
        "Handwriting read with no handwritten example: by print, and by each other",
        [f"{len(X):,} handwritten digits", f"{slanted[..., 0].size:,} prototypes",
         "HNSW, cosine"],
        "Left: some of the prototypes. Middle: the share named right; dotted, what "
        f"guessing gets. The last step asks {NEIGHBOURS} neighbours, {ROUNDS} times "
        "over. Right: after that step, how many percent of each digit got each name.",
        {f"accuracy, {step}": share for step, share in right.items()},
        {
            "print – what there is to go by": panels.gallery(digits.images(rows), 10),
            "steps – the share named right": panels.bars(
                [*right], {"": [*right.values()]}, level=0.1
            ),
            "confusion – which is taken for which": panels.percents(
                confused, "named", "written"
            ),
        },
        gap=1.2,
    )  # fmt: skip


def prototypes(slants: tuple[float, ...]) -> Floats:
    """Draw the ten digits in all fonts: (10, fonts * slants, 64), from 0 to 1."""
    import matplotlib as mpl

    home = Path(mpl.get_data_path()) / "fonts" / "ttf"
    found = (path for family in FAMILIES for path in home.glob(f"{family}.ttf"))
    fonts = sorted(path for path in found if "Display" not in path.stem)
    drawn = [
        [_drawn(str(digit), font, slant) for font in fonts for slant in slants]
        for digit in range(10)
    ]
    return np.array(drawn, np.float32).reshape(10, -1, digits.SIDE**2)


def _drawn(text: str, font: Path, slant: float) -> Floats:
    """Draw large, and make it as small as the handwritten ones are."""
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("L", (3 * _POINTS, 2 * _POINTS))
    pen = ImageFont.truetype(str(font), _POINTS)
    ImageDraw.Draw(page).text((_POINTS, _POINTS // 2), text, fill=255, font=pen)
    shear = (1, slant, -slant * _POINTS, 0, 1, 0)
    aslant = page.transform(page.size, Image.Transform.AFFINE, shear)
    cut = aslant.crop(aslant.getbbox())
    wide = max(1, min(WIDEST, round(digits.SIDE * cut.width / cut.height)))
    small = cut.resize((wide, digits.SIDE), Image.Resampling.BOX)
    image = np.zeros((digits.SIDE, digits.SIDE), np.float32)
    left = (digits.SIDE - wide) // 2
    image[:, left : left + wide] = np.asarray(small) / 255
    return image


def nearest(of: Floats, X: Floats) -> Labels:
    """Return the digit of the nearest of prototypes (10, m, 64)."""
    ids, _ = ann.Flat("cosine").add(of.reshape(-1, of.shape[-1])).search(X, k=1)
    digit: Labels = ids[:, 0] // of.shape[1]
    return digit
