"""What a file says, taken out piece by piece and checked on the way."""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ann.storage import StorageError


class Stored:
    """A manifest and its arrays; each is asked for once.

    Parameters
    ----------
    manifest : dict
    arrays : dict of arrays
    """

    def __init__(
        self, manifest: dict[str, Any], arrays: dict[str, NDArray[Any]]
    ) -> None:
        self._manifest, self._arrays = dict(manifest), dict(arrays)
        for name in ("library", "version"):
            if not isinstance(self._taken(name), str):
                raise StorageError(f"{name} must be a string")

    def _taken(self, name: str) -> Any:
        if name not in self._manifest:
            raise StorageError(f"the manifest must have {name!r}, got none")
        return self._manifest.pop(name)

    def integer(self, name: str, low: int, high: int) -> int:
        """Return a whole number in ``[low, high]``."""
        value = self._taken(name)
        if type(value) is not int or not low <= value <= high:
            raise StorageError(
                f"{name} must be an integer in [{low}, {high}], got {value!r}"
            )
        return value

    def flag(self, name: str) -> bool:
        """Return a boolean."""
        value = self._taken(name)
        if type(value) is not bool:
            raise StorageError(f"{name} must be true or false, got {value!r}")
        return value

    def one_of(
        self, name: str, choices: Collection[str], missing: str | None = None
    ) -> str:
        """Return a string that is one of some; ``missing`` where it is left out."""
        if missing is not None and name not in self._manifest:
            return missing
        value = self._taken(name)
        if not isinstance(value, str) or value not in choices:
            known = ", ".join(choices)
            raise StorageError(f"{name} must be one of {known}, got {value!r}")
        return value

    def table(self, name: str) -> dict[str, Any]:
        """Return an object."""
        value = self._taken(name)
        if not isinstance(value, dict):
            raise StorageError(f"{name} must be an object, got {value!r}")
        return dict(value)

    def has(self, name: str) -> bool:
        """Whether there is such an array."""
        return name in self._arrays

    def array(
        self, name: str, dtype: DTypeLike, shape: tuple[int | None, ...]
    ) -> NDArray[Any]:
        """Return an array of exactly this dtype and shape; None is any length."""
        if name not in self._arrays:
            raise StorageError(f"the file must have an array {name!r}, got none")
        array = self._arrays.pop(name)
        fits = array.ndim == len(shape) and all(
            want is None or want == have
            for want, have in zip(shape, array.shape, strict=True)
        )
        if array.dtype != np.dtype(dtype) or not fits:
            wanted = "×".join("n" if s is None else str(s) for s in shape)
            raise StorageError(
                f"array {name!r} must be {np.dtype(dtype).name} of shape ({wanted}), "
                f"got {array.dtype.name} of shape {array.shape}"
            )
        return array

    def finite(
        self, name: str, shape: tuple[int | None, ...], dtype: DTypeLike = np.float32
    ) -> NDArray[Any]:
        """Return an array of finite numbers."""
        array = self.array(name, dtype, shape)
        if not np.isfinite(array).all():
            raise StorageError(f"array {name!r} must be finite, got others")
        return array

    def within(
        self,
        name: str,
        dtype: DTypeLike,
        shape: tuple[int | None, ...],
        low: int,
        high: int,
    ) -> NDArray[Any]:
        """Return an array of integers in ``[low, high]``."""
        array = self.array(name, dtype, shape)
        if array.size and (array.min() < low or array.max() > high):
            worst = array.min() if array.min() < low else array.max()
            raise StorageError(
                f"array {name!r} must be in [{low}, {high}], got {worst}"
            )
        return array

    def finish(self) -> None:
        """Refuse what nobody asked for."""
        left = [*self._manifest, *self._arrays]
        if left:
            raise StorageError(f"the file must have nothing else, got {left[0]!r}")
