"""Which config and which steps a command means."""

from __future__ import annotations

from pathlib import Path

from experiments.config import Config, load
from experiments.datasets import title
from experiments.encoding import file_name
from experiments.streaming.runbook import Runbook, read, sections
from experiments.strict import ConfigError, check

# What is played without a config.
_INDEXES = [
    {"kind": "HNSW", "search": {"ef_search": 64}},
    {"kind": "IVF", "search": {"nprobe": 8}},
]


def config(file: Path, path: Path | None, section: str | None) -> Config:
    """Return the config of a TOML file, or one for the datasets that a runbook names.

    Raises
    ------
    ConfigError
        When a file is malformed.
    """
    if path is not None:
        return load(path, Config)
    names = [section] if section else sections(file)
    table = {
        "name": file_name(f"runbook-{file.stem}"),
        "dataset": [{"name": name} for name in names],
        "index": _INDEXES,
    }
    return check(Config, table)


def runbooks(file: Path, config: Config, section: str | None) -> dict[str, Runbook]:
    """Return the steps for each dataset of a config, by its name there.

    They are those of the section given, or of the one that bears the dataset's name, or
    of the only one there is.

    Raises
    ------
    ConfigError
        When none of these is there.
    """
    known = sections(file)
    found = {}
    for dataset in config.dataset:
        names = (dataset.name, title(dataset.name))
        named = [name for name in names if name in known]
        if section is None and not named and len(known) != 1:
            raise ConfigError(
                f"{file}: must have steps for {names[0]!r}, it has them for {known}: "
                "choose with --section"
            )
        found[dataset.name] = read(file, section or (*named, *known)[0])
    return found
