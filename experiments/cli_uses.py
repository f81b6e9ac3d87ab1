"""``ann use``: what nearest neighbours are good for, each example with its figure."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.exits import stop

if TYPE_CHECKING:
    from experiments.terminal import Console


def use(
    name: Annotated[
        list[str] | None,
        typer.Argument(help="Which ones; without any, they are listed."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All of them.", metavar="")
    ] = False,
    out: Annotated[Path, typer.Option(help="Where to write.")] = Path("results/uses"),
    vectors: Annotated[
        Path | None,
        typer.Option(help="For analogies: a file of word2vec or GloVe, unpacked."),
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", help="Rows of a set, at most, for a quick look.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0,
) -> None:
    """Show what nearest neighbours are good for: short examples, each with a figure.

    Writes NAME.png and NAME.json. Nothing is downloaded.
    """
    from experiments.terminal import Console
    from experiments.uses import use as uses

    wanted = list(uses.USES) if every else name or []
    if not wanted:
        for each in uses.USES:
            print(f"{each:16}{uses.about(each)}")
        return
    if vectors is not None and wanted != ["analogies"]:
        stop(f"--vectors is for analogies alone, got {' '.join(wanted)}")
    done: list[str] = []
    try:
        uses.check(wanted, n)
        _use(wanted, out, vectors, n, seed, Console(), done)
    except (OSError, ValueError) as error:
        stop(str(error))
    except KeyboardInterrupt:
        kept = f"; {', '.join(done)} is in {out}" if done else " before one was done"
        stop(f"interrupted{kept}", 130)


def _use(
    wanted: list[str],
    out: Path,
    vectors: Path | None,
    n: int | None,
    seed: int,
    console: Console,
    done: list[str],
) -> None:
    """Do what each use does, and add its name to those that are done."""
    from ann import parallel
    from experiments.lessons.notebook import Notebook
    from experiments.progress import Progress
    from experiments.provenance import command_line
    from experiments.terminal import Plain
    from experiments.uses import analogies
    from experiments.uses import use as uses

    with Progress(console, len(wanted)) as progress:
        for each in wanted:
            notes = Notebook(n, seed, parallel.available(), progress)
            progress.doing(each)
            of = uses.USES[each]
            if vectors is not None:
                of = partial(analogies.use, vectors=vectors)
            shown = uses.run(each, of, notes, out, command_line())
            progress.done()
            console.print(Plain(f"{each}: {shown.title}", "bold"))
            console.print(uses.table(shown))
            console.print(Plain(f"{out / each}.png"), soft_wrap=True)
            done.append(each)
