"""Tables of a config, checked to the letter, with errors that help.

Every table is a pydantic model. Unknown keys are errors and name the nearest key that
exists; every error says where it stands, which rule it breaks and what was found.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

MOST_LISTED = 12  # names in an error
T = TypeVar("T", bound="Strict")


class ConfigError(ValueError):
    """A config that cannot be run; the message says where and why."""


class Strict(BaseModel):
    """A frozen table without unknown keys and without silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _know_every_key(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    raise PydanticCustomError(
                        "unknown_key", "{text}", {"text": unknown("key", key, cls)}
                    )
        return data


def check(model: type[T], data: Any, where: str = "") -> T:
    """Validate a table.

    Parameters
    ----------
    model : the table's schema
    data : what stands in the config
    where : the table's place in the config, such as ``"index[0].build"``

    Raises
    ------
    ConfigError
        One line per error.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [_explain(details, where) for details in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def unknown(what: str, got: str, known: type[Strict] | Iterable[str]) -> str:
    """Say that a name is unknown, which one is nearest, and which ones there are."""
    names = known.model_fields if isinstance(known, type) else known
    by_lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(got.lower(), by_lower, n=1, cutoff=0.5)
    hint = f", did you mean {by_lower[near[0]]!r}?" if near else ""
    listed = ", ".join(by_lower.values()) or "none"
    known_ones = f" (known: {listed})" if len(by_lower) <= MOST_LISTED else ""
    return f"unknown {what} {got!r}{hint}{known_ones}"


def _explain(details: ErrorDetails, where: str) -> str:
    place = where
    for part in details["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}"
    text, got = details["msg"], details["input"]
    text = text[0].lower() + text[1:]
    match details["type"]:
        case "unknown_key":
            pass
        case "literal_error" | "union_tag_invalid" if isinstance(_tag(got), str):
            context = details.get("ctx", {})
            known = context.get("expected") or context["expected_tags"]
            text = unknown("value", _tag(got), re.findall(r"'([^']*)'", known))
        case "value_error":
            text = str(details["ctx"]["error"])
        case "missing" | "union_tag_not_found":
            text = f"{text} in {got!r}"
        case _:
            text = f"{text}, got {got!r}"
    return f"{place.lstrip('.') or 'config'}: {text}"


def _tag(got: Any) -> Any:
    return got.get("kind") if isinstance(got, Mapping) else got
