"""A fresh process for every build.

The parent starts a worker, waits for each answer and lets one worker act at a time, so
that two indexes never compete for cores, caches or memory bandwidth while a clock runs.
What goes wrong in a worker, up to its death, reaches the parent as a
:class:`WorkerError`; the parent goes on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import textwrap
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.measure import Built, Job, Offered, Sample

_OUT_OF_MEMORY = ("MemoryError", "ArrayMemoryError", "numpy._core._exceptions._Array")
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


class WorkerError(RuntimeError):
    """What a worker failed with, in one short line; ``fatal`` when it is gone.

    ``kind`` is "failed", "timed out" or "out of memory".
    """

    def __init__(self, text: str, fatal: bool, kind: str = "failed") -> None:
        super().__init__(textwrap.shorten(text, 200, placeholder=" …"))
        self.fatal, self.kind = fatal, kind


class Worker:
    """A process that holds one index.

    Parameters
    ----------
    job : what it builds
    log : file for whatever its libraries write to stdout and stderr
    timeout_s : when to give up on a call, or None
    """

    def __init__(self, job: Job, log: Path, timeout_s: float | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._log, self.timeout_s = log, timeout_s
        self._process = context.Process(
            target=_serve, args=(theirs, job, str(log)), daemon=True
        )
        with _environment(thread_environment(job.threads) | dict(job.environment)):
            self._process.start()
        theirs.close()

    def build(self) -> Built:
        """Build the index."""
        built: Built = self._call("build")
        return built

    def measure(self, params: Any, seed: int) -> Sample:
        """Measure one search setting once."""
        sample: Sample = self._call("measure", params, seed)
        return sample

    def offer(self, params: Any, fraction: float, seconds: float, seed: int) -> Offered:
        """Offer queries to one search setting at a fraction of what it sustains."""
        offered: Offered = self._call("offer", params, fraction, seconds, seed)
        return offered

    def count(self, params: Any) -> Any:
        """Count each query's distance computations."""
        return self._call("count", params)

    def log(self) -> str:
        """Return what the libraries, or a traceback, have written."""
        raw = self._log.read_bytes() if self._log.exists() else b""
        return raw.decode("utf-8", "replace")

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._pipe.close()
        self._process.kill()
        self._process.join()

    def _call(self, *message: Any) -> Any:
        try:
            self._pipe.send(message)
            if not self._is_in_time():
                self.close()
                text = f"no answer within {self.timeout_s:.3g} s"
                raise WorkerError(text, fatal=True, kind="timed out")
            status, value = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            raise self._death() from None
        if status == "error":
            exhausted = value.startswith(_OUT_OF_MEMORY)
            kind = "out of memory" if exhausted else "failed"
            raise WorkerError(value, fatal=False, kind=kind)
        return value

    def _is_in_time(self) -> bool:
        """Wait for an answer; return whether it came before the timeout."""
        return self._pipe.poll(self.timeout_s)

    def _death(self) -> WorkerError:
        code = self._process.exitcode or 0
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        killed = code == -signal.SIGKILL  # by the system, when memory ran out
        lines = [line.strip() for line in self.log().splitlines() if line.strip()]
        said = lines[-1] if lines else ""
        kind = "out of memory" if killed or "bad_alloc" in said else "failed"
        text = f"the worker died ({cause}); it last said: {said}"
        return WorkerError(text, fatal=True, kind=kind)


def thread_environment(threads: int) -> dict[str, str]:
    """Return the variables that size thread pools, read when libraries load."""
    return dict.fromkeys(_THREAD_VARIABLES, str(threads))


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(pipe: Connection, job: Job, log: str) -> None:
    """Answer calls until the parent closes the pipe or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    die_with_parent()
    _redirect_output(log)
    bench = None
    while True:
        try:
            method, *args = pipe.recv()
        except EOFError:
            return
        try:
            if bench is None:
                bench = job.open()
            answer = ("ok", getattr(bench, method)(*args))
        except Exception as error:
            traceback.print_exc()
            answer = ("error", f"{type(error).__name__}: {error}")
        pipe.send(answer)


def die_with_parent() -> None:
    """Ask Linux to end this process with its parent, even while it builds."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _redirect_output(log: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
