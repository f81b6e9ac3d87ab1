"""Mutation testing: whether the tests notice a wrong kernel or a missing check.

``python -m tests.mutations --seed 18 --count 20`` draws small faults (see ``faults``)
from the kernels and the validation. Each goes by itself into a copy of the repository,
where the tests run up to the first that fails. What no test notices is a weakness of
the tests, or makes no difference; nothing here decides which: it is listed as SURVIVED.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.faults import ROOT, Fault, drawn

# As ``make test``, but that files begin in the order in which they are named.
RUNNER = ("--numprocesses", "logical", "--dist", "loadfile", "--no-loadscope-reorder")


class Verdict(NamedTuple):
    """What the tests say of a copy of the repository, and after how long."""

    failed: str | None  # the first test that did, or None
    seconds: float


class Copy:
    """A copy of the repository to run tests in.

    Always in the same folder: Numba's cache goes by path and time of a source, so all
    that a fault leaves unchanged is compiled once.
    """

    def __init__(self, folder: Path) -> None:
        self.home, self.cache = folder / "copy", folder / "cache"
        listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others"]
        names = subprocess.run(
            [*listed, "--exclude-standard"], capture_output=True, check=True
        ).stdout
        for name in filter(None, names.decode().split("\0")):
            if (ROOT / name).is_file():  # and not deleted since
                (self.home / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.home / name)

    def judged(self, fault: Fault, tests: list[str], limit_s: float) -> Verdict:
        """Return what the tests say with a fault in place."""
        path = self.home / fault.file
        before, of = path.read_bytes(), path.stat()
        kept = set(self.cache.glob("kernels-*"))
        path.write_bytes(fault.applied(before))
        try:
            return self.run(tests, limit_s)
        finally:
            path.write_bytes(before)
            os.utime(path, ns=(of.st_atime_ns, of.st_mtime_ns))
            for compiled in set(self.cache.glob("kernels-*")) - kept:
                shutil.rmtree(compiled)

    def run(self, tests: list[str], limit_s: float | None = None) -> Verdict:
        """Run the tests up to the first that fails; past the limit they do not end."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        variables = {"PYTHONPATH": str(self.home), "NUMBA_CACHE_DIR": str(self.cache)}
        begin = time.monotonic()
        with subprocess.Popen(
            [*command, *RUNNER, *tests],
            cwd=self.home,
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                said, _ = process.communicate(timeout=limit_s)
                failed = _first_failure(process.returncode, said)
            except subprocess.TimeoutExpired:
                failed = f"(no end in {limit_s:.0f} s)"
            finally:
                _end(process)
        return Verdict(failed, time.monotonic() - begin)


def _end(process: subprocess.Popen[str]) -> None:
    """End a run with all of its workers, which a loop may hold for ever."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _first_failure(code: int, said: str) -> str | None:
    if code == 0:
        return None
    if found := re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", said, re.MULTILINE):
        return found[1]
    if code in (1, 2) or code < 0:
        return f"(the tests ended with exit code {code})"
    raise RuntimeError(f"pytest ended with exit code {code}:\n{said[-2000:]}")


def likely_first(file: str) -> list[str]:
    """Return all test files: a module's own, those that mention it, of ann, others."""
    module = Path(file).stem

    def rank(path: Path) -> tuple[bool, bool, bool]:
        words = re.findall(r"\w+", path.read_text(encoding="utf-8"))
        is_own = path.stem == f"test_{module}"
        return not is_own, path.parent.name != "ann", module not in words

    paths = sorted(sorted((ROOT / "tests").rglob("test_*.py")), key=rank)
    return [path.relative_to(ROOT).as_posix() for path in paths]


def main() -> None:
    """Draw, apply and judge; print a line for each as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seed", type=int, default=18)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--tests", nargs="+", help="all by default, the likely first")
    parser.add_argument("--timeout", type=float, help="in s; by default thrice as long")
    parser.add_argument("--list", action="store_true", help="draw them, run no tests")
    chosen = parser.parse_args()
    faults = drawn(chosen.seed, chosen.count)
    if chosen.list:
        print(*faults, sep="\n")
        return
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        copy = Copy(Path(folder))
        original = copy.run(chosen.tests or ["tests"])
        if original.failed:
            raise SystemExit(f"without a fault, {original.failed} fails")
        print(f"without a fault: passed in {original.seconds:.0f} s", flush=True)
        limit_s, noticed = chosen.timeout or 3 * original.seconds + 60, 0
        for fault in faults:
            tests = chosen.tests or likely_first(fault.file)
            failed, seconds = copy.judged(fault, tests, limit_s)
            noticed += failed is not None
            told = f"noticed by {failed}" if failed else "SURVIVED"
            print(f"{fault}\n    {told} ({seconds:.0f} s)", flush=True)
    print(f"noticed {noticed} of {len(faults)}")


if __name__ == "__main__":
    main()
