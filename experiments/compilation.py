"""Watch Numba compile, so that no compilation hides in a measured time."""

from __future__ import annotations

from time import perf_counter

from numba.core import event


class CompileClock(event.Listener):
    """Sum the seconds, and count the starts, of compilation since its creation.

    Loading a function from the disk cache is not compilation and sends no event. A
    function compiled on behalf of another is part of the other's time.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.count = 0
        self._depth = 0
        self._start = 0.0
        event.register("numba:compile", self)  # type: ignore[no-untyped-call]

    def on_start(self, event: event.Event) -> None:
        """Note the time when the outermost compilation begins."""
        if self._depth == 0:
            self._start = perf_counter()
        self._depth += 1
        self.count += 1

    def on_end(self, event: event.Event) -> None:
        """Add the time of the outermost compilation."""
        self._depth -= 1
        if self._depth == 0:
            self.seconds += perf_counter() - self._start
