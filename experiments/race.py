"""Runs of one config in turns: two versions of the code meet the same machine.

A machine's speed moves by more between two runs than most changes of code are worth.
So the runs of a race go side by side, each an ordinary run in a process of its own with
a result directory of its own, and only one of them acts at a time: after every build
and every measurement it hands over to the next. What one measured and what the other
measured right after it belong together, and ``ann compare`` takes them in pairs.

Whose turn it is, is a byte that goes round: every run reads from a pipe that the one
before it writes to. Where a run ends early its pipe closes, and the others go on
without waiting for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from experiments import results, store
from experiments.plan import Plan
from experiments.provenance import command_line, config_table

_BYTE = b"."
_RUNNER = "import sys; from experiments import race; race.ride(*sys.argv[1:])"


@dataclass(frozen=True)
class Side:
    """One run of a race: where it is kept, and what makes it different."""

    out: Path
    runner: str = _RUNNER  # Python code that calls `ride` with its arguments
    environment: Mapping[str, str] = field(default_factory=dict)


class Turns:
    """A run's place in the round.

    Parameters
    ----------
    name : of the race
    before, after : file descriptors of the pipes from the run before and to the next
    """

    def __init__(self, name: str, before: int, after: int) -> None:
        self.name = name
        self._before, self._after = before, after

    def wait(self) -> None:
        """Return when it is this run's turn, or when the run before it is gone."""
        os.read(self._before, 1)

    def hand_over(self) -> None:
        """Let the next run act, and wait until it is this run's turn again."""
        with suppress(BrokenPipeError):
            os.write(self._after, _BYTE)
        self.wait()


def run(config: Path, sides: Sequence[Side]) -> None:
    """Run a config once for every side, in turns; an earlier race there is begun anew.

    Parameters
    ----------
    config : of the runs
    sides : two or more; the last one shows its progress on the terminal

    Raises
    ------
    RuntimeError
        When a side fails as a whole; what it had to say is on stderr.
    """
    name, pipes = uuid.uuid4().hex, [os.pipe() for _ in sides]
    children = []
    for i, side in enumerate(sides):
        side.out.mkdir(parents=True, exist_ok=True)
        store.discard(side.out / results.PIECES)
        ends = pipes[i][0], pipes[(i + 1) % len(sides)][1]
        shown = side is sides[-1]
        told = (config, side.out, name, command_line(), *ends, int(shown))
        command = [sys.executable, "-P", "-c", side.runner, *map(str, told)]
        environment = os.environ | side.environment
        child = subprocess.Popen(command, env=environment, pass_fds=ends)
        children.append(child)
    os.write(pipes[0][1], _BYTE)
    for end in (end for pipe in pipes for end in pipe):
        os.close(end)  # so that a child's death closes its pipes
    codes = _ended(children)
    for side, code in zip(sides, codes, strict=True):
        if code:
            raise RuntimeError(f"the run in {side.out} ended with exit code {code}")


def _ended(children: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Return the exit codes; an interrupt reaches the children, and is waited for."""
    while True:
        try:
            return [child.wait() for child in children]
        except KeyboardInterrupt:
            for child in children:
                child.terminate()


def ride(
    config: str,
    out: str,
    name: str,
    command: str,
    before: str,
    after: str,
    shown: str,
) -> None:
    """Be one side: run the config, taking turns."""
    turns = Turns(name, int(before), int(after))
    turns.wait()
    from experiments import config as configs
    from experiments import plan as plans
    from experiments import runner
    from experiments.terminal import Console
    from experiments.worker import die_with_parent

    die_with_parent()
    plan = plans.make(configs.load(Path(config), configs.Config))
    console = Console(quiet=not int(shown))
    try:
        runner.run(plan, Path(out), console, command, race=turns)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


@contextmanager
def library(against: str) -> Iterator[dict[str, str]]:
    """Yield the environment in which ``import ann`` finds another version.

    Parameters
    ----------
    against : a folder that holds another ``ann``, or a commit of this repository

    Raises
    ------
    ValueError
        When it is neither.
    """
    harness = Path(__file__).resolve().parents[1]
    with TemporaryDirectory(prefix="race-") as name:
        home = Path(name)
        folder = Path(against).resolve()
        if not folder.is_dir():
            folder = _checked_out(harness, against, home / "checkout")
        if not (folder / "ann" / "__init__.py").is_file():
            raise ValueError(f"{against} must hold a package ann, {folder} holds none")
        (home / "library").mkdir()
        (home / "library" / "ann").symlink_to(folder / "ann")
        paths = [str(home / "library"), str(harness), os.environ.get("PYTHONPATH", "")]
        yield {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _checked_out(repository: Path, commit: str, folder: Path) -> Path:
    """Return a copy of the repository at a commit; the repository stays untouched."""
    where = ["git", "-C", str(repository)]
    named = [*where, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"]
    try:
        found = subprocess.run(named, capture_output=True, encoding="utf-8", check=True)
        clone = ["clone", "--quiet", "--shared", "--no-checkout"]
        subprocess.run(["git", *clone, str(repository), str(folder)], check=True)
        switch = ["checkout", "--quiet", found.stdout.strip()]
        subprocess.run(["git", "-C", str(folder), *switch], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        text = f"{commit!r} must be a folder or a commit of this repository: {error}"
        raise ValueError(text) from None
    return folder


def against(
    plan: Plan, config: Path, other: str, out: Path, force: bool
) -> tuple[Path, Path]:
    """Race this version against another; return both result directories.

    Parameters
    ----------
    plan : of the config
    config : its file
    other : see :func:`library`
    out : gets a folder ``before`` for the other version and ``after`` for this one
    force : as in :func:`experiments.results.claim`
    """
    before, after = out / "before", out / "after"
    with library(other) as environment:
        for each in (before, after):
            results.claim(each, config_table(plan.config), force)
        run(config, [Side(before, environment=environment), Side(after)])
    return before, after
