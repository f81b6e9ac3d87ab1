"""The ``ann`` command."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from experiments.config import Study
    from experiments.plan import Plan
    from experiments.results import Row

S = TypeVar("S", bound="Study")

app = typer.Typer(
    help="Run experiments on approximate nearest neighbour search.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Dirs = Annotated[
    list[Path], typer.Argument(help="Result directories.", metavar="DIR...")
]
OutOption = Annotated[
    Path | None, typer.Option(help="Where to write; results/NAME by default.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the plan.")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Use a directory that holds another run.")
]


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="A TOML file.")],
    out: OutOption = None,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
) -> None:
    """Build and measure everything a config names."""
    from rich.console import Console

    from experiments import config as configs
    from experiments import plan as plans
    from experiments import report

    console = Console()
    plan = _planned(config, configs.Config, plans.make)
    if dry_run:
        console.print(report.planned(plan))
        return
    out = out or Path("results") / plan.config.name
    rows = _measured(plan, out, force, console)
    from experiments.plots.rows import read_run

    for table in report.summary([read_run(out)], console.width):
        console.print(table)
    _ratios(out, console, [])
    _finish(rows, out, lambda: _draw([out], out / "figures"), f"ann plot {out}")


@app.command()
def ablation(
    config: Annotated[
        Path, typer.Argument(help="A TOML file; or an earlier study's directory.")
    ],
    out: OutOption = None,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
) -> None:
    """Measure indexes of ours with everything on, and without each trick alone."""
    from rich.console import Console

    from experiments import config as configs
    from experiments import report
    from experiments.ablation import variants

    console = Console()
    if config.is_dir():
        try:
            _taken_apart(config, console)
        except (OSError, ValueError) as error:
            _stop(str(error))
        return
    plan = _planned(config, configs.Ablation, variants.make)
    if dry_run:
        console.print(report.planned(plan))
        return
    out = out or Path("results") / plan.config.name
    rows = _measured(plan, out, force, console)
    _finish(rows, out, lambda: _taken_apart(out, console), f"ann ablation {out}")


@app.command()
def bulk(
    config: Annotated[Path, typer.Argument(help="A TOML file.")],
    out: OutOption = None,
    force: ForceOption = False,
) -> None:
    """Measure exact search of a batch and k-means beside FAISS and scikit-learn."""
    from rich.console import Console

    from experiments import bulk as bulks
    from experiments import config as configs
    from experiments import plan, report, results
    from experiments.provenance import command_line
    from experiments.strict import ConfigError

    console = Console()
    try:
        loaded = configs.load(config, configs.Bulk)
        plan.require_datasets(loaded)
    except ConfigError as error:
        _stop(str(error))
    out = out or Path("results") / loaded.name
    try:
        results.claim(out, loaded.name, force)
        lines = bulks.run(loaded, out, console, command_line())
    except (OSError, ValueError) as error:
        _stop(str(error))
    for table in report.bulk(lines):
        console.print(table)


@app.command()
def show(
    dirs: Dirs,
    every: Annotated[
        bool, typer.Option("--all", help="Every point, not each curve's best.")
    ] = False,
) -> None:
    """Print the tables of earlier runs, read from their files alone."""
    from rich.console import Console

    from experiments import report
    from experiments.plots import rows

    console = Console()
    try:
        runs = rows.read_runs(dirs)
    except (OSError, ValueError) as error:
        _stop(str(error))
    tables = report.details if every else report.summary
    for table in tables(runs, console.width):
        console.print(table)


@app.command()
def ratios(
    directory: Annotated[Path, typer.Argument(help="A result directory.")],
    pair: Annotated[
        list[str] | None,
        typer.Option(help="OURS:PEER, two labels; by default those of the config."),
    ] = None,
) -> None:
    """Print how many times faster ours is than a peer at equal recall."""
    from rich.console import Console

    pairs = [each.split(":", 1) for each in pair or ()]
    if any(len(labels) < 2 for labels in pairs):
        _stop(f"a pair must be OURS:PEER, got {pair}")
    try:
        if not _ratios(directory, Console(), [(a, b) for a, b in pairs]):
            _stop(f"no two curves with rounds reach a common recall in {directory}", 1)
    except (OSError, ValueError) as error:
        _stop(str(error))


@app.command()
def plot(
    dirs: Dirs,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to draw; DIR/figures, or ./figures for several DIRs."),
    ] = None,
) -> None:
    """Draw the figures of earlier runs, overlaid, from their files alone."""
    home = dirs[0] if len(dirs) == 1 else Path()
    try:
        _draw(dirs, out or home / "figures")
    except (OSError, ValueError) as error:
        _stop(str(error))


@app.command()
def datasets() -> None:
    """List the datasets that a config can name."""
    from experiments.datasets import names

    for name in names():
        print(name)


def main() -> None:
    """Run the command; the entry point of the console script."""
    app()


def _planned(path: Path, schema: type[S], make: Callable[[S], Plan]) -> Plan:
    """Read a config and expand it, or stop with what is wrong in it."""
    from experiments import config as configs
    from experiments.strict import ConfigError

    try:
        return make(configs.load(path, schema))
    except ConfigError as error:
        _stop(str(error))


def _measured(plan: Plan, out: Path, force: bool, console: Console) -> list[Row]:
    """Run a plan into a directory; an interrupt ends the program."""
    from experiments import results, runner
    from experiments.provenance import command_line

    try:
        results.claim(out, plan.config.name, force)
    except OSError as error:
        _stop(str(error))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return runner.run(plan, out, console, command_line())
    except KeyboardInterrupt:
        print(f"interrupted; what was measured is in {out}", file=sys.stderr)
        raise SystemExit(130) from None


def _finish(rows: list[Row], out: Path, draw: Callable[[], None], again: str) -> None:
    """Say what went wrong, draw, and exit with 1 where something failed."""
    from experiments import report

    for line in report.problems(rows):
        print(line, file=sys.stderr)
    try:
        draw()
    except Exception as error:
        _stop(f"{error!r}; the rows are safe, draw them with: {again}", 1)
    if any(row.status.startswith("failed") for row in rows):
        raise SystemExit(1)


def _taken_apart(out: Path, console: Console) -> None:
    """Print, write and draw what a study's files say."""
    from experiments import ratios, report, results
    from experiments.ablation import figure
    from experiments.ablation import table as tables
    from experiments.plots.rows import read_run

    run = read_run(out)
    table = tables.lines(run, ratios.read_rounds(out))
    if not table:
        raise ValueError(f"{out} must hold an ablation, got rows of another kind")
    threads = max(point.threads for point in run.points)
    for stack in report.ablation(table, threads, console.width):
        console.print(stack)
    results.write_table(out / results.ABLATION, table)
    print(f"{len(figure.draw(run, table, out / 'figures'))} figures in {out}/figures")


def _ratios(out: Path, console: Console, pairs: list[tuple[str, str]]) -> bool:
    """Print the table of ratios and write the config's; say whether there is one."""
    from experiments import ratios as comparing
    from experiments import report, results
    from experiments.plots.rows import read_run

    run, rounds = read_run(out), comparing.read_rounds(out)
    found = []
    for group in dict.fromkeys(point.group for point in run.points):
        chosen = pairs or comparing.pairs_of(run, group)
        if lines := list(comparing.compare(run, rounds, group, chosen)):
            threads = max(point.threads for point in run.points)
            console.print(report.ratios(group, lines, threads, console.width))
            found += lines
    if found and not pairs:
        results.write_table(out / results.RATIOS, found)
    return bool(found)


def _draw(dirs: list[Path], out: Path) -> None:
    from experiments import plots

    print(f"{len(plots.draw(dirs, out))} figures in {out}")


def _stop(text: str, code: int = 2) -> NoReturn:
    print(text, file=sys.stderr)
    raise SystemExit(code)
