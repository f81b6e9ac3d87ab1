"""Where everything lies in a file: header, manifest, arrays (docs/storage.md).

Bytes to a description and back; nothing here opens a file. All that a file says is
checked before anybody allocates what it asks for.
"""

import json
import math
import re
import struct
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# The first byte is no text, and the line ends show a transfer that changed them.
MAGIC = b"\x89ann\r\n\x1a\n"
VERSION = 1
# magic, version, length of the manifest, length of the file | checksum of these and of
# the manifest. Magic and version stay where they are in every version to come.
HEADER = struct.Struct("<8sQQQ32s")
SUMMED = 32  # bytes of the header that the checksum covers
PAGE = 4096  # arrays begin at a multiple, so that mapped ones begin at a page
DTYPES = ("|i1", "|u1", "<i4", "<i8", "<u8", "<f2", "<f4", "<f8")

MANIFEST_LIMIT = 1 << 18  # bytes; parsed they take some 25 times as much at the worst
DEPTH_LIMIT = 32  # of lists and objects: the parser would recurse as deep as it goes
DIMENSIONS_LIMIT = 8
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_CHECKSUM = re.compile("[0-9a-f]{64}")
_TOKEN = re.compile(r'\\.|["\[\]{}]')


class StorageError(ValueError):
    """A file that is refused, or an index that cannot be one."""


class Section(NamedTuple):
    """An array in a file, as the manifest describes it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int
    checksum: str

    @property
    def end(self) -> int:
        """Where the byte after its last one lies."""
        return self.offset + self.nbytes


# --- from an index to the beginning of a file -----------------------------------------


def plan(index: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> list[Section]:
    """Return where arrays will lie; their checksums are still zeros.

    Raises
    ------
    StorageError
        The file would be refused, or would give back another ``index``.
    """
    start = PAGE
    while True:  # the longer the manifest, the larger the offsets in it
        sections = _consecutive(arrays, start)
        head = encode(index, sections)
        if len(head) <= start:
            break
        start = _at_page(len(head))
    size = length(len(head), sections)
    again, _ = parse(head[: HEADER.size], head[HEADER.size :], size)
    if again != index:
        raise StorageError(
            "a manifest must hold strings, finite numbers, booleans, None, lists and "
            f"dicts with strings for keys, got {_shown(index)}"
        )
    return sections


def _consecutive(arrays: Mapping[str, NDArray[Any]], start: int) -> list[Section]:
    sections = []
    for name, array in arrays.items():
        dtype, shape, nbytes = array.dtype.str, array.shape, array.nbytes
        sections.append(Section(name, dtype, shape, start, nbytes, "0" * 64))
        start = _at_page(sections[-1].end)
    return sections


def encode(index: dict[str, Any], sections: list[Section]) -> bytes:
    """Return header and manifest."""
    try:
        manifest = {"index": index, "arrays": [s._asdict() for s in sections]}
        text = json.dumps(manifest, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise StorageError(f"a manifest must be valid JSON: {error}") from None
    if len(text) > MANIFEST_LIMIT:
        raise StorageError(
            f"a manifest must be at most {MANIFEST_LIMIT} bytes, got {len(text)}"
        )
    whole = length(HEADER.size + len(text), sections)
    head = HEADER.pack(MAGIC, VERSION, len(text), whole, b"")[:SUMMED]
    return head + sha256(head + text).digest() + text


def length(manifest_end: int, sections: list[Section]) -> int:
    """Return the length of a file."""
    return sections[-1].end if sections else manifest_end


# --- from the beginning of a file to its description ----------------------------------


def manifest_length(head: bytes, size: int) -> int:
    """Return the length of the manifest of a file of ``size`` bytes.

    ``head`` are its first 64 bytes, or what there is of them.
    """
    if head[: len(MAGIC)] != MAGIC:
        raise StorageError(
            f"must be an ann index, which begins with {MAGIC!r}, "
            f"got {head[: len(MAGIC)]!r}"
        )
    if len(head) < HEADER.size:
        raise StorageError(f"must be at least {HEADER.size} bytes long, got {size}")
    _, version, text, whole, _ = HEADER.unpack(head)
    if version != VERSION:
        hint = ": a newer version of ann wrote it" if version > VERSION else ""
        raise StorageError(f"must be of format {VERSION}, got {version}{hint}")
    if whole != size:
        raise StorageError(
            f"must be {whole} bytes long, as its header says, got {size}"
        )
    limit = min(MANIFEST_LIMIT, size - HEADER.size)
    if text > limit:
        raise StorageError(f"must have a manifest of at most {limit} bytes, got {text}")
    return int(text)


def parse(head: bytes, text: bytes, size: int) -> tuple[dict[str, Any], list[Section]]:
    """Return what the manifest says: of the index, and where the arrays lie.

    Raises
    ------
    StorageError
        The checksum is wrong, the manifest is no strict JSON, or what it describes does
        not tile the file.
    """
    if sha256(head[:SUMMED] + text).digest() != head[SUMMED:]:
        raise StorageError(
            "header and manifest must have the checksum that the header states, "
            "got another: the file is damaged"
        )
    manifest = _fields(_strict_json(text), ("index", "arrays"), "the manifest")
    index, entries = manifest["index"], manifest["arrays"]
    if not (isinstance(index, dict) and isinstance(entries, list)):
        raise StorageError(
            "the manifest must have an object 'index' and a list 'arrays', "
            f"got {_shown(manifest)}"
        )
    sections: list[Section] = []
    end = HEADER.size + len(text)
    for entry in entries:
        sections.append(_section(entry, _at_page(end)))
        end = sections[-1].end
    if len({section.name for section in sections}) < len(sections):
        raise StorageError("arrays must have different names, got one twice")
    if end != size:
        raise StorageError(f"arrays must end where the file does, at {size}, got {end}")
    return index, sections


def gaps(manifest_end: int, sections: list[Section]) -> Iterator[tuple[int, int]]:
    """Yield where each padding begins and ends."""
    end = manifest_end
    for section in sections:
        yield end, section.offset
        end = section.end


def _section(entry: Any, offset: int) -> Section:
    fields = _fields(entry, Section._fields, "an array's description")
    name, dtype, shape = fields["name"], fields["dtype"], fields["shape"]
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise StorageError(
            f"an array's name must be 1 to 64 of A-Z a-z 0-9 _ . -, got {_shown(name)}"
        )
    if dtype not in DTYPES:
        raise StorageError(
            f"the dtype of {name!r} must be one of {DTYPES}, got {_shown(dtype)}"
        )
    nbytes = np.dtype(dtype).itemsize * _count(shape, name)
    for field, expected in (("nbytes", nbytes), ("offset", offset)):
        if type(fields[field]) is not int or fields[field] != expected:
            raise StorageError(
                f"{field} of {name!r} must be {expected}, got {_shown(fields[field])}"
            )
    checksum = fields["checksum"]
    if not (isinstance(checksum, str) and _CHECKSUM.fullmatch(checksum)):
        raise StorageError(
            f"the checksum of {name!r} must be 64 hexadecimal digits, "
            f"got {_shown(checksum)}"
        )
    return Section(name, dtype, tuple(shape), offset, nbytes, checksum)


def _count(shape: Any, name: str) -> int:
    """Return how many elements an array of this shape has."""
    whole = isinstance(shape, list) and len(shape) <= DIMENSIONS_LIMIT
    if not (whole and all(type(n) is int and 0 <= n < 2**63 for n in shape)):
        raise StorageError(
            f"the shape of {name!r} must be at most {DIMENSIONS_LIMIT} whole numbers "
            f"in [0, 2**63 - 1], got {_shown(shape)}"
        )
    if math.prod(max(1, n) for n in shape) >= 2**60:  # numpy looks past the zeros too
        raise StorageError(
            f"the shape of {name!r} must have a product below 2**60, zeros left out, "
            f"got {_shown(shape)}"
        )
    return math.prod(shape)


# --- strict JSON ----------------------------------------------------------------------


def _strict_json(text: bytes) -> Any:
    try:
        characters = text.decode()
        _check_depth(characters)
        return json.loads(
            characters,
            object_pairs_hook=_without_duplicates,
            parse_constant=_finite,
            parse_float=_finite,
        )
    except StorageError:
        raise
    except ValueError as error:  # of UTF-8, of JSON, of an integer's digits
        raise StorageError(f"the manifest must be valid JSON: {error}") from None


def _check_depth(text: str) -> None:
    depth, in_string = 0, False
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token == '"':
            in_string = not in_string
        elif not in_string and len(token) == 1:
            depth += 1 if token in "[{" else -1
            if depth > DEPTH_LIMIT:
                raise StorageError(
                    f"a manifest must be at most {DEPTH_LIMIT} levels deep, got more"
                )


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise StorageError("keys of an object in the manifest must differ, got a twin")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise StorageError(f"numbers in the manifest must be finite, got {text[:80]}")
    return number


def _fields(value: Any, names: tuple[str, ...], what: str) -> dict[str, Any]:
    if not (isinstance(value, dict) and value.keys() == set(names)):
        raise StorageError(
            f"{what} must be an object with the keys {names}, got {_shown(value)}"
        )
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _at_page(position: int) -> int:
    return -(-position // PAGE) * PAGE
