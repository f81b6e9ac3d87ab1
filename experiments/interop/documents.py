"""YAML files, read as plain values and checked as far as all of them are alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.encoding import read_text
from experiments.strict import ConfigError


def read(path: Path) -> Mapping[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises
    ------
    ConfigError
        When the file is missing, is not YAML or holds something else.
    """
    import yaml

    try:
        document = yaml.safe_load(read_text(path))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return table(document, str(path))


def table(value: Any, where: str) -> Mapping[Any, Any]:
    """Return a mapping as it is, or raise ConfigError."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: must be a mapping, got {value!r:.60}")
    return value
