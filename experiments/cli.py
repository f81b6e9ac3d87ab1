"""The ``ann`` command."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from experiments import cli_data, cli_uses
from experiments.encoding import set_up, write_text
from experiments.exits import complain
from experiments.exits import stop as _stop

if TYPE_CHECKING:
    from experiments.config import Study
    from experiments.plan import Plan
    from experiments.results import Row
    from experiments.terminal import Console

S = TypeVar("S", bound="Study")


class Format(StrEnum):
    """What results can be exported to."""

    ANN_BENCHMARKS = "ann-benchmarks"
    PARQUET = "parquet"


_FINE = ("ok", "skipped", "over budget")

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
MEASURE, LOOK, FILES = "Measure", "Look at what was measured", "Data and files"
app.add_typer(cli_data.datasets, name="datasets", rich_help_panel=FILES)
app.command(rich_help_panel=FILES)(cli_data.ask)
app.command(rich_help_panel=LOOK)(cli_uses.use)


def _flag(name: str, text: str) -> Any:
    return typer.Option(name, help=text, metavar="")


ConfigFile = Annotated[
    Path, typer.Argument(help="A TOML file, as those in experiments/configs.")
]
Dirs = Annotated[list[Path], typer.Argument(help="Result directories.", metavar="DIR")]
OutOption = Annotated[
    Path | None, typer.Option(help="Where to write; results/NAME by default.")
]
DryRunOption = Annotated[
    bool, _flag("--dry-run", "Show what would run, and for about how long.")
]
BudgetOption = Annotated[
    str | None,
    typer.Option(help="Stop after so long, as 60s, 10m or 2h; rows say what is left."),
]
ForceOption = Annotated[
    bool,
    _flag(
        "--force", "Use a directory that holds another run; that moves to previous/."
    ),
]
MeasureOption = Annotated[
    list[str] | None,
    typer.Option(
        help="p50_us (the default), p95_us, p99_us, query_median_p50_us, qps, "
        "qps_1thread, distance_computations, index_bytes or build_s; may be repeated."
    ),
]
ThresholdOption = Annotated[
    float, typer.Option(help="A regression is worse by more than this share.")
]


def _version(wanted: bool) -> None:
    if wanted:
        import ann

        print(f"ann {ann.__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and exit.",
            metavar="",
            callback=_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Run experiments on approximate nearest neighbour search.

    Exit codes: 0; 1 where something failed, was refused or is a regression; 2 for a
    mistake in what was asked; 130 after Ctrl-C, with what was measured kept.
    """


@app.command(rich_help_panel=MEASURE)
def run(
    config: ConfigFile,
    out: OutOption = None,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    budget: BudgetOption = None,
) -> None:
    """Build and measure everything a config names.

    A run that was killed goes on where it was when it is started again.
    """
    from experiments import config as configs
    from experiments import plan as plans
    from experiments import report
    from experiments.terminal import Console

    console = Console()
    plan = _planned(config, configs.Config, plans.make)
    out = out or Path("results") / plan.config.name
    if dry_run:
        _foretell(plan, out, force, console)
        return
    rows = _measured(plan, out, force, console, _seconds(budget))
    from experiments.plots.rows import read_run

    found = [read_run(out)]
    for table in (*report.summary(found, console.width), *report.loads(found)):
        console.print(table)
    _ratios(out, console, [])
    commands = ("ann", "plot", str(out)), ("ann", "report", str(out))
    _finish(rows, lambda: _drawn(out), *commands)


@app.command(rich_help_panel=MEASURE)
def race(
    config: ConfigFile,
    against: Annotated[
        str,
        typer.Argument(help="A commit of this repository, or a folder with an ann."),
    ],
    out: OutOption = None,
    force: ForceOption = False,
    measure: MeasureOption = None,
    threshold: ThresholdOption = 0.05,
) -> None:
    """Measure another version of the library and this one in turns, and compare.

    Both are ordinary runs, in the folders before and after of --out, that met the same
    machine: a change that two runs one after the other would hide shows. Exits as ann
    compare does.
    """
    from experiments import config as configs
    from experiments import plan as plans
    from experiments import race as races
    from experiments.terminal import Console

    plan = _planned(config, configs.Config, plans.make)
    out = out or Path("results") / f"{plan.config.name}-race"
    try:
        before, after = races.against(plan, config, against, out, force)
    except (OSError, RuntimeError, ValueError) as error:
        _stop(str(error))
    _compared(before, after, measure or [], threshold, None, Console())


@app.command(rich_help_panel=MEASURE)
def ablation(
    config: Annotated[
        Path,
        typer.Argument(help="A TOML file; or a study's directory, to draw it again."),
    ],
    out: OutOption = None,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
) -> None:
    """Measure indexes of ours with everything on, and without each trick alone."""
    from experiments import config as configs
    from experiments.ablation import variants
    from experiments.terminal import Console

    console = Console()
    if config.is_dir():
        try:
            _taken_apart(config, console)
        except (OSError, ValueError) as error:
            _stop(str(error))
        return
    plan = _planned(config, configs.Ablation, variants.make)
    out = out or Path("results") / plan.config.name
    if dry_run:
        _foretell(plan, out, force, console)
        return
    rows = _measured(plan, out, force, console)
    _finish(rows, lambda: _taken_apart(out, console), ("ann", "ablation", str(out)))


@app.command(rich_help_panel=MEASURE)
def bulk(
    config: ConfigFile,
    out: OutOption = None,
    force: ForceOption = False,
) -> None:
    """Measure exact search of a batch and k-means beside FAISS and scikit-learn."""
    from experiments import bulk as bulks
    from experiments import config as configs
    from experiments import plan, report, results
    from experiments.provenance import command_line, config_table
    from experiments.strict import ConfigError
    from experiments.terminal import Console

    console = Console()
    try:
        loaded = configs.load(config, configs.Bulk)
        plan.require_datasets(loaded)
    except ConfigError as error:
        _stop(str(error))
    out = out or Path("results") / loaded.name
    try:
        results.claim(out, config_table(loaded), force)
        lines = bulks.run(loaded, out, console, command_line())
    except (OSError, ValueError) as error:
        _stop(str(error))
    for table in report.bulk(lines):
        console.print(table)


@app.command(rich_help_panel=MEASURE)
def trust(
    config: Annotated[
        Path, typer.Argument(help="A TOML file; or an earlier study's directory.")
    ],
    out: OutOption = None,
    force: ForceOption = False,
) -> None:
    """Measure what becomes of an index by churn, filters or hostile data."""
    from experiments import config as configs
    from experiments import results
    from experiments.provenance import command_line, config_table
    from experiments.strict import ConfigError
    from experiments.terminal import Console
    from experiments.trust import study

    console = Console()
    try:
        if config.is_dir():
            _trusted(config, console)
            return
        loaded = configs.load(config, configs.Trust)
        plan = study.make(loaded)
        out = out or Path("results") / loaded.name
        results.claim(out, config_table(loaded), force)
        lines = study.run(plan, loaded, out, console, command_line())
        _trusted(out, console)
    except (ConfigError, OSError, ValueError) as error:
        _stop(str(error))
    except KeyboardInterrupt:
        _interrupted(out)
    if any(not line.status.startswith(_FINE) for line in lines):
        raise SystemExit(1)


@app.command(rich_help_panel=MEASURE)
def lesson(
    name: Annotated[
        str,
        typer.Argument(
            help="metrics, dimension, reduce, adaptive or tune; or a directory."
        ),
    ],
    out: OutOption = None,
    n: Annotated[
        int | None, typer.Option("-n", help="Rows of a set, at most, for a quick look.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0,
    force: ForceOption = False,
) -> None:
    """Teach by measuring: metrics, dimension, fewer columns, when to stop, tuning."""
    from ann import parallel
    from experiments import results
    from experiments.lessons import lesson as lessons
    from experiments.provenance import command_line
    from experiments.terminal import Console

    console = Console()
    try:
        if name not in lessons.LESSONS and Path(name).is_dir():
            _taught(Path(name), console)
            return
        asked = lessons.wish(name, n, seed, parallel.available())
        out = out or Path("results") / asked.name
        results.claim(out, asked.config, force)
        lessons.run(asked, out, console, command_line())
        _taught(out, console)
    except (OSError, ValueError) as error:
        _stop(str(error))
    except KeyboardInterrupt:
        _interrupted(out)


@app.command("import", rich_help_panel=FILES)
def import_(
    file: Annotated[
        Path, typer.Argument(help="An algorithm file of ann-benchmarks or VIBE.")
    ],
    dataset: Annotated[str, typer.Option(help="What the config is to run on.")],
    out: Annotated[
        Path | None, typer.Option(help="The TOML file to write; printed by default.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Where the dataset's name does not tell it.")
    ] = None,
    dimension: Annotated[
        int | None, typer.Option(help="Where the dataset's name does not tell it.")
    ] = None,
    k: Annotated[int, typer.Option(help="Neighbours to ask for.")] = 10,
    point_type: Annotated[str, typer.Option(help="The part of the file.")] = "float",
    disabled: Annotated[
        bool, _flag("--disabled", "Take what the file disables, too.")
    ] = False,
) -> None:
    """Make a config of an algorithm file of ann-benchmarks or VIBE."""
    from experiments.interop import convert
    from experiments.strict import ConfigError

    try:
        target = convert.target(dataset, metric, dimension)
        made = convert.convert(
            file, target, k=k, point_type=point_type, disabled=disabled
        )
        text = convert.toml(made, "/".join(file.resolve().parts[-2:]))
        if out is None:
            print(text, end="")
        else:
            out.write_text(text, encoding="utf-8")
    except (ConfigError, OSError) as error:
        _stop(str(error))
    for name, reason in made.left_out.items():
        complain(f"left out: {name}: {reason}")


@app.command(rich_help_panel=FILES)
def export(
    directory: Annotated[Path, typer.Argument(help="A result directory.")],
    out: Annotated[
        Path | None,
        typer.Argument(help="Where to write; within the directory by default."),
    ] = None,
    to: Annotated[
        Format, typer.Option(help="For a checkout of ann-benchmarks, or one table.")
    ] = Format.ANN_BENCHMARKS,
) -> None:
    """Write results as ann-benchmarks does, or as one table in parquet."""
    try:
        if to is Format.PARQUET:
            from experiments.interop import parquet
            from experiments.results import EXPORT

            print(parquet.export(directory, out or directory / EXPORT))
        else:
            from experiments.interop import results

            out = out or directory / Format.ANN_BENCHMARKS.value
            print(f"{len(results.export(directory, out))} results in {out}/results")
    except (OSError, ValueError) as error:
        _stop(str(error))


@app.command(rich_help_panel=MEASURE)
def runbook(
    file: Annotated[Path, typer.Argument(help="A runbook of big-ann-benchmarks.")],
    config: Annotated[
        Path | None,
        typer.Option(help="A TOML file; by default HNSW and IVF on the file's data."),
    ] = None,
    section: Annotated[
        str | None,
        typer.Option(help="The part of the file, where no dataset is named as one."),
    ] = None,
    out: OutOption = None,
    force: ForceOption = False,
) -> None:
    """Insert, delete, replace and search step by step, with the truth of each step."""
    from experiments import plan as plans
    from experiments import results, streaming
    from experiments.provenance import command_line, config_table
    from experiments.strict import ConfigError
    from experiments.terminal import Console

    console = Console()
    try:
        loaded = streaming.config(file, config, section)
        plan = plans.make(loaded)
        runbooks = streaming.runbooks(file, loaded, section)
        out = out or Path("results") / loaded.name
        results.claim(out, config_table(loaded), force)
        lines = streaming.run(plan, runbooks, out, console, command_line())
    except (ConfigError, OSError, ValueError) as error:
        _stop(str(error))
    except KeyboardInterrupt:
        _interrupted(out)
    for table in streaming.tables(lines):
        console.print(table)
    if any(not line.status.startswith(_FINE) for line in lines):
        raise SystemExit(1)


@app.command(rich_help_panel=LOOK)
def show(
    dirs: Dirs,
    every: Annotated[
        bool, _flag("--all", "Every point, not each curve at three recalls.")
    ] = False,
) -> None:
    """Print the tables of earlier runs, read from their files alone."""
    from experiments import report
    from experiments.plots import rows
    from experiments.terminal import Console

    console = Console()
    try:
        runs = rows.read_runs(dirs)
    except (OSError, ValueError) as error:
        _stop(str(error))
    tables = report.details if every else report.summary
    for table in (*tables(runs, console.width), *report.loads(runs)):
        console.print(table)


@app.command(rich_help_panel=LOOK)
def ratios(
    directory: Annotated[Path, typer.Argument(help="A result directory.")],
    pair: Annotated[
        list[str] | None,
        typer.Option(help="OURS:PEER, two labels; by default those of the config."),
    ] = None,
) -> None:
    """Print how many times faster ours is than a peer at equal recall."""
    from experiments.terminal import Console

    try:
        if not _ratios(directory, Console(), pair or []):
            _stop(f"no two curves reach a common recall in {directory}", 1)
    except (OSError, ValueError) as error:
        _stop(str(error))


@app.command(rich_help_panel=LOOK)
def compare(
    before: Annotated[Path, typer.Argument(help="A result directory.")],
    after: Annotated[Path, typer.Argument(help="Another, of the same data.")],
    measure: MeasureOption = None,
    threshold: ThresholdOption = 0.05,
    out: Annotated[
        Path | None, typer.Option(help="Where to draw the curves of the differences.")
    ] = None,
) -> None:
    """Compare two runs at equal recall; exit with 1 on a regression.

    A regression is said where all of an interval lies beyond the threshold: over
    queries, over rounds, and corrected or not for a machine that was slower. A recall
    that is no longer reached is one, too.
    """
    from experiments.terminal import Console

    _compared(before, after, measure or [], threshold, out, Console())


def _compared(
    before: Path,
    after: Path,
    measures: list[str],
    threshold: float,
    out: Path | None,
    console: Console,
) -> None:
    """Print what has changed, draw it where it is wanted, and exit by the verdict."""
    from experiments import compare as comparing
    from experiments import report

    try:
        runs = comparing.Measured(before), comparing.Measured(after)
        changes = comparing.compare(*runs, measures, threshold)
        console.print(report.changes(changes))
        if out is not None:
            from experiments import difference

            named = dict.fromkeys(change.measure for change in changes)
            drawn = [difference.draw(*runs, each, threshold, out) for each in named]
            print(f"{sum(map(len, drawn))} figures in {out}")
    except (OSError, ValueError) as error:
        _stop(str(error))
    if worse := comparing.regressions(changes):
        _stop(
            f"{len(worse)} of {len(changes)} are worse by more than {threshold:.0%}", 1
        )


@app.command(rich_help_panel=LOOK)
def plot(
    dirs: Dirs,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to draw; DIR/figures, or ./figures for several DIRs."),
    ] = None,
    use: Annotated[
        list[str] | None,
        typer.Option(
            help="Shade what a use asks for, such as rag or recommendation; may be "
            "repeated. By default what the configs say."
        ),
    ] = None,
) -> None:
    """Draw the figures of earlier runs, overlaid, from their files alone."""
    home = dirs[0] if len(dirs) == 1 else Path()
    try:
        _draw(dirs, out or home / "figures", use)
    except (OSError, ValueError) as error:
        _stop(str(error))


@app.command("report", rich_help_panel=LOOK)
def write_report(
    dirs: Dirs,
    out: Annotated[
        Path | None,
        typer.Option(help="The file; DIR/report.html, or ./report.html for several."),
    ] = None,
) -> None:
    """Write one HTML file of earlier runs, for a browser without a network."""
    from experiments import page, results

    home = dirs[0] if len(dirs) == 1 else Path()
    try:
        print(page.write(dirs, out or home / results.PAGE))
    except (ModuleNotFoundError, OSError, ValueError) as error:
        _stop(str(error))


@app.command(rich_help_panel=LOOK)
def trace(
    dataset: Annotated[
        str, typer.Argument(help="A name that 'ann datasets' lists, or a file.")
    ],
    index: Annotated[str, typer.Option(help="HNSW or IVF.")] = "HNSW",
    build: Annotated[
        str, typer.Option(help='Constructor parameters as JSON, as {"M": 8}.')
    ] = "{}",
    search: Annotated[
        str, typer.Option(help='Search parameters as JSON, as {"ef_search": 40}.')
    ] = "{}",
    query: Annotated[int, typer.Option(help="Which query, counted from 0.")] = 0,
    n: Annotated[
        int | None, typer.Option("-n", help="Vectors to sample; all by default.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Neighbours to find.")] = 10,
    metric: Annotated[
        str | None, typer.Option(help="Instead of the dataset's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the sample and the index.")] = 0,
    out: Annotated[Path, typer.Option(help="Where to write the pictures.")] = Path(
        "traces"
    ),
    every: Annotated[bool, _flag("--all", "Every line of a long table.")] = False,
) -> None:
    """Show one search of an index of ours: a table of its steps, a picture, a film."""
    import json

    from experiments import datasets, provenance, tracing
    from experiments.plots import searches
    from experiments.terminal import Console, Plain

    console = Console()
    try:
        setting = tracing.Setting.of(index, build, search, k, seed)
        data = datasets.load(dataset, n=n, metric=metric, truth_k=k, seed=seed)
        case = tracing.trace(data, query, setting)
    except (OSError, ValueError) as error:
        _stop(str(error))
    console.print(Plain(" · ".join(tracing.facts(case))))
    console.print(tracing.table(case, every))
    out.mkdir(parents=True, exist_ok=True)
    about = out / f"{case.stem}.json"
    told = tracing.about(case, provenance.command_line())
    write_text(about, json.dumps(told, indent=2) + "\n")
    for path in [*searches.draw(case, out / case.stem), about]:
        print(path)


@app.command(rich_help_panel=LOOK)
def monitor(
    state: Annotated[Path, typer.Argument(help="The path of an ann.Monitor.")],
    once: Annotated[bool, _flag("--once", "Print it and end.")] = False,
) -> None:
    """Show what a monitor of an index at work has seen: recall, queries, alerts."""
    from experiments import watching
    from experiments.terminal import Console

    try:
        watching.watch(state, Console(), once)
    except (OSError, ValueError) as error:
        _stop(str(error))


@app.command(rich_help_panel=FILES)
def audit(
    file: Annotated[
        str, typer.Argument(help="A file, or a name that 'ann datasets' lists.")
    ],
    queries: Annotated[
        str | None,
        typer.Option(help="A file of queries; those in FILE by default, if any."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="To be used; by default what FILE states, if it does."),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(help="Rows that distances are measured among.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the samples.")] = 0,
    out: Annotated[Path, typer.Option(help="Where to write letter and sheet.")] = Path(
        "audits"
    ),
) -> None:
    """Examine vectors before they are indexed: what is wrong, and which metric fits.

    Prints tables, and writes a letter and a sheet of plots. Exits with 1 where there is
    an error, such as a NaN or rows of which only some are normalised.
    """
    from experiments import auditing
    from experiments.terminal import Console

    console = Console()
    try:
        made = auditing.audit(file, queries, metric=metric, sample=sample, seed=seed)
        for table in auditing.tables(made):
            console.print(table)
        for path in auditing.write(made, out):
            print(path)
    except (OSError, ValueError) as error:
        _stop(str(error))
    if any(finding.severity == "error" for finding in made.found.findings):
        raise SystemExit(1)


@app.command(rich_help_panel=MEASURE)
def tune(
    file: Annotated[
        str, typer.Argument(help="A file, or a name that 'ann datasets' lists.")
    ],
    queries: Annotated[
        str | None,
        typer.Option(help="A file of queries; those in FILE, or rows of it, if not."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="By default what FILE states, if it does.")
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", help="Vectors to sample; all by default.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Neighbours to find.")] = 10,
    use: Annotated[
        str | None,
        typer.Option(help="What for, such as rag or recommendation: sets the target."),
    ] = None,
    target: Annotated[
        float | None, typer.Option(help="Mean recall; 0.95 by default.")
    ] = None,
    confidence: Annotated[float, typer.Option(help="That it is met.")] = 0.95,
    objective: Annotated[
        str, typer.Option(help="What is to be least: latency or memory.")
    ] = "latency",
    max_bytes: Annotated[
        float | None, typer.Option(help="Bytes of the index for each vector, at most.")
    ] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="Of 99 lone queries in 100, at most.")
    ] = None,
    budget: BudgetOption = "60s",
    seed: Annotated[int, typer.Option(help="Of samples and indexes.")] = 0,
    save: Annotated[
        Path | None, typer.Option(help="Where to save the index, for ann.load.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where to write letter and JSON.")] = Path(
        "tunings"
    ),
) -> None:
    """Choose an index by measuring, with a bound on its recall for queries to come.

    Prints what was chosen, why, and all that was tried. Exits with 1 where nothing
    meets the target within the limits.
    """
    from ann.tuning import UnreachableError
    from experiments import tuning
    from experiments.terminal import Console

    console = Console()
    how = tuning.Wanted(
        use, target, confidence, objective, max_bytes, max_latency_ms, _seconds(budget)
    )
    try:
        made = tuning.tune(file, queries, how, metric=metric, n=n, k=k, seed=seed)
        for table in tuning.tables(made):
            console.print(table)
        for path in tuning.write(made, out, save):
            print(path)
    except UnreachableError as error:
        _stop(str(error), 1)
    except (OSError, ValueError) as error:
        _stop(str(error))


def main() -> None:
    """Run the command; the entry point of the console script."""
    set_up()
    app()


def _planned(path: Path, schema: type[S], make: Callable[[S], Plan]) -> Plan:
    """Read a config and expand it, or stop with what is wrong in it."""
    from experiments import config as configs
    from experiments.strict import ConfigError

    try:
        return make(configs.load(path, schema))
    except ConfigError as error:
        _stop(str(error))


def _foretell(plan: Plan, out: Path, force: bool, console: Console) -> None:
    """Show what a plan would do, and exit with 1 where it would fail."""
    from experiments import preflight, report, results
    from experiments.provenance import config_table
    from experiments.terminal import Plain

    found = preflight.outlook(plan)
    seconds = None if found.problems else _estimated(plan, out)
    console.print(report.planned(plan, seconds))
    for line in found.skipped:
        console.print(Plain(line), soft_wrap=True)
    for line in found.problems:
        complain(line)
    try:
        results.check_claim(out, config_table(plan.config), force)
    except OSError as error:
        _stop(str(error))
    if found.problems:
        _stop("this would fail", 1)
    if not found.measured:
        _stop("nothing would be measured", 1)


def _estimated(plan: Plan, out: Path) -> float | None:
    """Return how long a plan takes, by an earlier run where there is one."""
    from experiments import estimate
    from experiments.plots.rows import read_run

    try:
        earlier = read_run(out)
    except (OSError, ValueError):
        earlier = None
    return estimate.seconds(plan, earlier)


def _seconds(text: str | None) -> float | None:
    """Return the seconds of a duration such as "90s", "10m" or "2h"."""
    if text is None:
        return None
    number, unit = (text, "s") if text[-1:].isdigit() else (text[:-1], text[-1:])
    try:
        seconds = float(number) * {"s": 1, "m": 60, "h": 3600}[unit]
    except (KeyError, ValueError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        _stop(f"--budget must be a time above 0, such as 60s, 10m or 2h, got {text!r}")
    return seconds


def _measured(
    plan: Plan,
    out: Path,
    force: bool,
    console: Console,
    budget_s: float | None = None,
) -> list[Row]:
    """Run a plan into a directory; an interrupt ends the program."""
    from experiments import preflight, results, runner
    from experiments.provenance import command_line, config_table

    try:
        results.claim(out, config_table(plan.config), force)
    except OSError as error:
        _stop(str(error))
    for line in preflight.outlook(plan).problems:
        complain(f"will fail: {line}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return runner.run(plan, out, console, command_line(), budget_s)
    except KeyboardInterrupt:
        _interrupted(out)


def _interrupted(out: Path | None) -> NoReturn:
    """Say what is left of what was interrupted, and end the program."""
    from experiments import results

    if out is not None and results.measured(out):
        _stop(f"interrupted; what was measured is in {out}", 130)
    _stop("interrupted before anything was measured", 130)


def _finish(rows: list[Row], draw: Callable[[], None], *again: Sequence[str]) -> None:
    """Say what went wrong, draw, and exit with 1 where something failed.

    ``again`` are the commands that draw the same later.
    """
    from experiments import report

    for line in report.problems(rows):
        complain(line)
    if not any(row.status == "ok" for row in rows):
        _stop("nothing was measured, so nothing is drawn", 1)
    try:
        draw()
    except Exception as error:
        commands = "; ".join(map(shlex.join, again))
        _stop(f"{error!r}; the rows are safe, draw them with: {commands}", 1)
    if any(not row.status.startswith(_FINE) for row in rows):
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
    for stack in report.ablation(table, run.points, console.width):
        console.print(stack)
    results.write_cells(out / results.ABLATION, [line.cells() for line in table])
    print(f"{len(figure.draw(run, table, out / 'figures'))} figures in {out}/figures")


def _trusted(out: Path, console: Console) -> None:
    """Print and draw what the files of a study of trust say."""
    from experiments.results import FIGURES
    from experiments.trust import study, telling

    lines, stamp = study.read(out)
    for table in telling.tables(lines):
        console.print(table)
    print(f"{len(telling.draw(lines, stamp, out / FIGURES))} figures in {out}")


def _taught(out: Path, console: Console) -> None:
    """Print and draw what the files of a lesson say."""
    from experiments.lessons import lesson as lessons
    from experiments.results import FIGURES

    tables, stamp = lessons.read(out)
    for table in lessons.told(tables):
        console.print(table)
    print(f"{len(lessons.draw(tables, stamp, out / FIGURES))} figures in {out}")


def _ratios(out: Path, console: Console, wanted: list[str]) -> bool:
    """Print the table of ratios and write the config's; say whether there is one."""
    from experiments import ratios as comparing
    from experiments import report, results
    from experiments.plots.curves import curves
    from experiments.plots.rows import read_run

    run, rounds = read_run(out), comparing.read_rounds(out)
    groups = dict.fromkeys(point.group for point in run.points)
    labels = {curve.label for group in groups for curve in curves([run], group)}
    pairs = [comparing.pair(each, labels) for each in wanted]
    found = []
    for group in groups:
        chosen = pairs or comparing.pairs_of(run, group)
        if lines := list(comparing.compare(run, rounds, group, chosen)):
            console.print(report.ratios(run, group, lines, console.width))
            found += lines
    if found and not pairs:
        results.write_cells(out / results.RATIOS, [each.cells() for each in found])
    return bool(found)


def _drawn(out: Path) -> None:
    """Draw a run's figures, and write its report where that is possible."""
    from experiments import page, results

    _draw([out], out / results.FIGURES)
    if page.available():
        print(f"report in {page.write([out], out / results.PAGE)}")
    else:
        print(f"no report: {page.NEEDS}")


def _draw(dirs: list[Path], out: Path, uses: list[str] | None = None) -> None:
    from experiments import plots

    wanted = {} if uses is None else {"uses": uses}
    print(f"{len(plots.draw(dirs, out, **wanted))} figures in {out}")
