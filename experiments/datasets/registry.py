"""Public benchmark sets by name: ann-benchmarks, and embeddings collected by VIBE."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.datasets.vectors import Vectors

if TYPE_CHECKING:
    from rich.progress import Progress

MIRROR = "ANN_DATASETS_URL"
"""Environment variable: a folder URL that has the files instead."""

_AB = "https://ann-benchmarks.com"
_COCO = "https://github.com/fabiocarrara/str-encoders/releases/download/v0.1.3"
_VIBE = "https://huggingface.co/datasets/vector-index-bench/vibe/resolve/main"


@dataclass(frozen=True)
class Remote:
    """A set to download; None stands for what its publisher does not say.

    The hashes are those that TensorFlow Datasets lists for the same files. Files
    without one are trusted on first use: their hash is recorded then and checked at
    every later load.
    """

    name: str
    n: int | None
    nq: int | None
    d: int
    metric: str
    folder: str = _AB
    size: int | None = None
    sha256: str | None = None

    @property
    def url(self) -> str:
        """Where the file is, honouring the mirror."""
        folder = os.environ.get(MIRROR) or self.folder
        return f"{folder.rstrip('/')}/{self.name}.hdf5"


SETS = {
    remote.name: remote
    for remote in (
        Remote(
            "sift-128-euclidean",
            *(1_000_000, 10_000, 128, "l2"),
            size=525_128_288,
            sha256="dd6f0a6ed6b7ebb8934680f861a33ed01ff33991eaee4fd60914d854a0ca5984",
        ),
        Remote(
            "gist-960-euclidean",
            *(1_000_000, 1_000, 960, "l2"),
            size=3_844_648_288,
        ),
        Remote(
            "glove-100-angular",
            *(1_183_514, 10_000, 100, "cosine"),
            size=485_413_888,
            sha256="544af1d5e84e112cd4749571dcfd8ca109818a572f850af75a3a09e093a953c4",
        ),
        Remote(
            "deep-image-96-angular",
            *(9_990_000, 10_000, 96, "cosine"),
            size=3_848_008_288,
            sha256="a0a44dfe80c58e63860862eeea2d34e62cff958dc3aec14fd65263d1d3c751f8",
        ),
        Remote("glove-25-angular", 1_183_514, 10_000, 25, "cosine"),
        Remote("glove-50-angular", 1_183_514, 10_000, 50, "cosine"),
        Remote("glove-200-angular", 1_183_514, 10_000, 200, "cosine", size=962_819_488),
        Remote("fashion-mnist-784-euclidean", 60_000, 10_000, 784, "l2"),
        Remote("mnist-784-euclidean", 60_000, 10_000, 784, "l2"),
        Remote("nytimes-256-angular", 290_000, 10_000, 256, "cosine"),
        # inner products made cosines by one more dimension
        Remote("lastfm-64-dot", 292_385, 50_000, 65, "cosine"),
        Remote("dbpedia-openai-100k-angular", None, None, 1536, "cosine"),
        Remote("dbpedia-openai-1000k-angular", None, None, 1536, "cosine"),
        Remote("coco-i2i-512-angular", 113_287, 10_000, 512, "cosine", _COCO),
        Remote("coco-t2i-512-angular", 113_287, 10_000, 512, "cosine", _COCO),
        Remote("agnews-mxbai-1024-euclidean", 769_382, None, 1024, "l2", _VIBE),
        Remote("yahoo-minilm-384-normalized", 677_305, None, 384, "cosine", _VIBE),
        Remote("laion-clip-512-normalized", 1_000_448, None, 512, "cosine", _VIBE),
        Remote("yandex-200-cosine", 1_000_000, None, 200, "cosine", _VIBE),
        Remote("yi-128-ip", 187_843, None, 128, "ip", _VIBE),
        Remote("llama-128-ip", 256_921, None, 128, "ip", _VIBE),
    )
}


def load(
    remote: Remote,
    cache: Path,
    progress: "Progress | None" = None,
    own: Path | None = None,
) -> Vectors:
    """Return a public set: the user's ``own`` file, or one that is downloaded once."""
    from experiments.datasets import hdf5
    from experiments.datasets.download import download, verify

    path = own or cache / "downloads" / f"{remote.name}.hdf5"
    if own is not None:
        _check_own(remote, own)
    elif path.exists():
        verify(path, remote.sha256)
    else:
        download(
            remote.url,
            path,
            sha256=remote.sha256,
            size=remote.size,
            check=lambda part: check_shapes(remote, part),
            progress=progress,
        )
    vectors = hdf5.read(path)
    if vectors.metric not in (None, remote.metric):
        raise ValueError(
            f"{path}: metric must be {remote.metric!r}, got {vectors.metric!r}"
        )
    return replace(vectors, metric=remote.metric, source=remote.url, drop_zeros=True)


def _check_own(remote: Remote, path: Path) -> None:
    """Refuse a file that bears the name of a public set and is another."""
    from experiments.datasets.download import file_sha256

    try:
        check_shapes(remote, path)
        if remote.sha256 not in (None, actual := file_sha256(path)):
            raise ValueError(f"sha256 must be {remote.sha256}, got {actual}")
    except ValueError as error:
        raise ValueError(
            f"{path}: must be the public set {remote.name}, or be named with its "
            f"suffix: {error}"
        ) from None


def check_shapes(remote: Remote, path: Path) -> None:
    """Refuse a file whose train and test are not those that are registered."""
    from experiments.datasets import hdf5

    shapes = hdf5.shapes(path)
    for name, rows in (("train", remote.n), ("test", remote.nq)):
        got = shapes.get(name)
        if got is None or got[1] != remote.d or rows not in (None, got[0]):
            raise ValueError(
                f"{remote.url}: {name} must have shape ({rows or 'any'}, {remote.d}), "
                f"got {got or 'none'}"
            )
