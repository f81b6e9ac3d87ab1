"""Random damage to a saved index, for tests that nothing in a file can do harm.

What is named ``damage: …`` breaks bytes as an accident does; every such file has to be
refused. What is named ``forged: …`` has its checksums made right again: it may be
accepted, and then has to be harmless. The format is written down here once more, from
docs/storage.md alone.
"""

import json
import struct
from hashlib import sha256
from typing import NamedTuple

import numpy as np

PAGE, CHUNK = 4096, 1 << 20
DTYPES = ("|i1", "|u1", "<i4", "<i8", "<u8", "<f2", "<f4", "<f8")


class Saved(NamedTuple):
    """A file taken apart: what the manifest says, and the arrays' bytes."""

    index: dict
    entries: list[dict]
    contents: list[bytes]


def corruptions(data, rng, only=""):
    """Yield ``(name, bytes)`` without end, each different from ``data``.

    ``only`` is how the names begin: ``"damage"``, ``"forged: reshape"``, ….
    """
    kinds = [(n, f) for n, f in (DAMAGE | FORGERIES).items() if n.startswith(only)]
    while True:
        name, corrupt = kinds[rng.integers(len(kinds))]
        result = corrupt(data, rng)
        if result is not None and result != data:
            yield name, result


# --- the format -----------------------------------------------------------------------


def take_apart(data):
    (length,) = struct.unpack_from("<Q", data, 16)
    manifest = json.loads(data[64 : 64 + length])
    entries = manifest["arrays"]
    contents = [data[e["offset"] : e["offset"] + e["nbytes"]] for e in entries]
    return Saved(manifest["index"], entries, contents)


def put_together(saved):
    """Return a file with offsets, lengths and checksums that are right."""
    begin = PAGE
    while True:
        entries, end = [], begin
        for entry, content in zip(saved.entries, saved.contents, strict=True):
            offset = at_page(end)
            end = offset + len(content)
            right = {"offset": offset, "nbytes": len(content)}
            entries.append({**entry, **right, "checksum": checksum(content)})
        text = json.dumps({"index": saved.index, "arrays": entries}).encode()
        if 64 + len(text) <= begin:
            break
        begin = at_page(64 + len(text))
    data = bytearray(end if entries else 64 + len(text))
    for entry, content in zip(entries, saved.contents, strict=True):
        data[entry["offset"] : entry["offset"] + len(content)] = content
    data[: 64 + len(text)] = bytes(64) + text
    return sealed(data, len(text))


def sealed(data, length):
    """Return ``data`` with a right header for a manifest of ``length`` bytes."""
    head = b"\x89ann\r\n\x1a\n" + struct.pack("<QQQ", 1, length, len(data))
    text = bytes(data[64 : 64 + length])
    return head + sha256(head + text).digest() + bytes(data[64:])


def checksum(content):
    chunks = (content[i : i + CHUNK] for i in range(0, len(content), CHUNK))
    return sha256(b"".join(sha256(chunk).digest() for chunk in chunks)).hexdigest()


def at_page(position):
    return -(-position // PAGE) * PAGE


def with_manifest(data, text):
    """Return the file with another manifest, the arrays where they were if it fits."""
    (length,) = struct.unpack_from("<Q", data, 16)
    arrays = data[at_page(64 + length) :]
    begin = 64 + len(text)
    padding = at_page(begin) - begin if arrays else 0
    return sealed(bytes(64) + text + bytes(padding) + arrays, len(text))


# --- damage ---------------------------------------------------------------------------


def span(size, rng):
    """Return a random, not empty range of ``size`` bytes; short ones are likelier."""
    a = rng.integers(size)
    return a, a + int(np.exp(rng.uniform(0, np.log(size - a))))


def flip(data, rng, first, last, bits=1):
    changed = bytearray(data)
    for place in rng.integers(8 * first, 8 * last, bits):
        changed[place // 8] ^= 1 << (place % 8)
    return bytes(changed)


def flip_one(data, rng):
    return flip(data, rng, 0, len(data))


def flip_some(data, rng):
    return flip(data, rng, 0, len(data), rng.integers(2, 100))


def flip_header(data, rng):
    return flip(data, rng, 0, 64)


def flip_manifest(data, rng):
    return flip(data, rng, 64, 64 + struct.unpack_from("<Q", data, 16)[0])


def flip_padding(data, rng):
    end = 64 + struct.unpack_from("<Q", data, 16)[0]
    gaps = []
    for entry in take_apart(data).entries:
        if end < entry["offset"]:
            gaps.append((end, entry["offset"]))
        end = entry["offset"] + entry["nbytes"]
    return flip(data, rng, *gaps[rng.integers(len(gaps))]) if gaps else None


def header_field(data, rng):
    field = 8 * rng.integers(1, 4)
    (value,) = struct.unpack_from("<Q", data, field)
    values = [0, 1, value - 1, value + 1, 2 * value, 2**31, 2**32, 2**62, 2**63, 2**64]
    other = max(0, values[rng.integers(len(values))]) % 2**64
    return data[:field] + struct.pack("<Q", other) + data[field + 8 :]


def cut(data, rng):
    return data[: rng.integers(len(data))]


def cut_at_page(data, rng):
    return data[: PAGE * rng.integers(at_page(len(data)) // PAGE)]


def append_zeros(data, rng):
    return data + bytes(int(rng.choice([1, 64, PAGE, 10 * PAGE])))


def append_noise(data, rng):
    return data + rng.bytes(rng.integers(1, 2 * PAGE))


def zero_range(data, rng):
    a, b = span(len(data), rng)
    return data[:a] + bytes(b - a) + data[b:]


def noise_range(data, rng):
    a, b = span(len(data), rng)
    return data[:a] + rng.bytes(b - a) + data[b:]


def cut_out(data, rng):
    a, b = span(len(data), rng)
    return data[:a] + data[b:]


def cut_out_page(data, rng):
    a = PAGE * rng.integers(at_page(len(data)) // PAGE)
    return data[:a] + data[a + PAGE :]


def put_in(data, rng):
    a, b = span(len(data), rng)
    return data[:a] + rng.bytes(b - a) + data[a:]


def copy_range(data, rng):
    a, b = span(len(data), rng)
    to = rng.integers(len(data) - (b - a) + 1)
    return data[:to] + data[a:b] + data[to + b - a :]


def swap_pages(data, rng):
    count = len(data) // PAGE
    if count < 2:
        return None
    a, b = PAGE * np.sort(rng.choice(count, 2, replace=False))
    first, second = data[a : a + PAGE], data[b : b + PAGE]
    return data[:a] + second + data[a + PAGE : b] + first + data[b + PAGE :]


def swap_sections(data, rng):
    """Exchange the bytes of two arrays, of equal lengths or cut to the shorter one."""
    entries = [entry for entry in take_apart(data).entries if entry["nbytes"]]
    if len(entries) < 2:
        return None
    one, other = (entries[i] for i in rng.choice(len(entries), 2, replace=False))
    size = min(one["nbytes"], other["nbytes"])
    changed = bytearray(data)
    for to, source in ((one, other), (other, one)):
        a, b = to["offset"], source["offset"]
        changed[a : a + size] = data[b : b + size]
    return bytes(changed)


# --- forged manifests: checksums are right, descriptions need not be ------------------

NUMBERS = (
    0, 1, -1, 2, 7, 2**15, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53, 2**62, 2**63,
    -(2**63), 2**64, 10**30, 0.5, -0.5, 1e-300, 1e308,
)  # fmt: skip
OTHERS = ("", "x", "é" * 300, "../../x", "__class__", None, True, False, [], {}, [[]])


def hostile(value, rng):
    """Return something in the place of a value: near it, far from it, of other type."""
    near = []
    if type(value) is int:
        near = [value - 1, value + 1, 2 * value, value // 2, -value, float(value)]
    if type(value) is str:
        near = [value[:-1], value + "x", value.upper(), value[::-1], *DTYPES]
    pools = [pool for pool in (near, near, NUMBERS, OTHERS) if len(pool)]
    pool = pools[rng.integers(len(pools))]
    return pool[rng.integers(len(pool))]


def places(value):
    """Return every (container, key) inside of a JSON value."""
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    else:
        return []
    return [place for key, inner in pairs for place in ((value, key), *places(inner))]


def change(value, rng, edits=1):
    """Replace, delete, double or exchange values somewhere inside of ``value``."""
    for _ in range(edits):
        found = places(value)
        if not found:
            return
        container, key = found[rng.integers(len(found))]
        match rng.integers(10):
            case 0:
                del container[key]
            case 1 if isinstance(container, list):
                container.insert(key, container[key])
            case 1:
                container[f"{key}_"] = container[key]
            case 2:
                other, at = found[rng.integers(len(found))]
                copy = json.dumps([container[key], other[at]])
                other[at], container[key] = json.loads(copy)
            case _:
                container[key] = hostile(container[key], rng)


def edit_manifest(data, rng, which=None):
    saved = take_apart(data)
    manifest = {"index": saved.index, "arrays": saved.entries}
    change(manifest[which] if which else manifest, rng, rng.integers(1, 3))
    return with_manifest(data, json.dumps(manifest).encode())


def edit_descriptions(data, rng):
    return edit_manifest(data, rng, "arrays")


def swap_offsets(data, rng):
    saved = take_apart(data)
    if len(saved.entries) < 2:
        return None
    a, b = (saved.entries[i] for i in rng.choice(len(saved.entries), 2, replace=False))
    a["offset"], b["offset"] = b["offset"], a["offset"]
    manifest = {"index": saved.index, "arrays": saved.entries}
    return with_manifest(data, json.dumps(manifest).encode())


def no_manifest(data, rng):
    """Put in its place what breaks parsers, or is none."""
    (length,) = struct.unpack_from("<Q", data, 16)
    text = data[64 : 64 + length]
    place = text.index(b'"arrays"')
    other = [
        b"", b"null", b"[]", b"{}", b"\xff\xfe" + text, b"\xef\xbb\xbf" + text,
        text + text, text[:-1], text.decode().encode("utf-16"),
        b"[" * 100_000, b'{"a":' * 30_000, b"9" * 200_000, b"[" + b"[]," * 60_000,
        text[:place] + b'"arrays": [], ' + text[place:],
        text[:place] + b'"x": NaN, ' + text[place:],
        text[:place] + b'"x": 1e999, ' + text[place:],
        text[:place] + b'"x": "\x00", ' + text[place:],
        text.replace(b"4096", b"4096.0"), text.replace(b"4096", b"-4096"),
    ]  # fmt: skip
    return with_manifest(data, other[rng.integers(len(other))])


# --- forged contents: files that are whole, of an index that is not -------------------


def edit_parameters(data, rng):
    saved = take_apart(data)
    change(saved.index, rng, rng.integers(1, 3))
    return put_together(saved)


def some_array(saved, rng, least=1):
    """Return the number of an array that has at least so many elements, or None."""
    fits = [
        i
        for i, entry in enumerate(saved.entries)
        if entry["nbytes"] >= least * np.dtype(entry["dtype"]).itemsize
    ]
    return fits[rng.integers(len(fits))] if fits else None


def edit_elements(data, rng):
    """Put values that cannot be, or hardly, into some elements or all of them."""
    saved = take_apart(data)
    which = some_array(saved, rng)
    if which is None:
        return None
    array = np.frombuffer(saved.contents[which], saved.entries[which]["dtype"]).copy()
    count = (1, 1, 3, array.size // 2 + 1, array.size)[rng.integers(5)]
    chosen = rng.integers(array.size, size=count)
    array[chosen] = elements(array, count, rng)
    saved.contents[which] = array.tobytes()
    return put_together(saved)


def elements(array, count, rng):
    if array.dtype.kind == "f":
        values = [0, -1, np.nan, np.inf, -np.inf, 1e38, -1e38, 1e-45]
    else:
        limits = np.iinfo(array.dtype)
        values = [0, 1, limits.min, limits.max, limits.max // 2, array.size % 128]
        values += [int(array.max()) + 1, int(array.min()) - 1]
        values = [v for v in values if limits.min <= v <= limits.max]
    noise = np.frombuffer(rng.bytes(array.dtype.itemsize * count), array.dtype)
    drawn = np.array(values, array.dtype)[rng.integers(len(values), size=count)]
    return noise if rng.random() < 0.3 else drawn


def reorder_elements(data, rng):
    saved = take_apart(data)
    which = some_array(saved, rng, least=2)
    if which is None:
        return None
    array = np.frombuffer(saved.contents[which], saved.entries[which]["dtype"]).copy()
    match rng.integers(4):
        case 0:
            array.sort()
        case 1:
            array = array[::-1]
        case 2:
            rng.shuffle(array)
        case 3:
            array = np.roll(array, rng.integers(1, array.size))
    saved.contents[which] = array.tobytes()
    return put_together(saved)


def reshape(data, rng):
    """Give an array another shape or dtype, and the bytes that go with it."""
    saved = take_apart(data)
    which = some_array(saved, rng, least=0)
    if which is None:
        return None
    entry = saved.entries[which]
    array = np.frombuffer(saved.contents[which], entry["dtype"])
    array = array.reshape(entry["shape"])
    changed = reshaped(array, rng)
    entry["dtype"], entry["shape"] = changed.dtype.str, list(changed.shape)
    saved.contents[which] = changed.tobytes()
    return put_together(saved)


def reshaped(array, rng):
    match rng.integers(8):
        case 0 if array.ndim:
            return array[: rng.integers(len(array) + 1)]
        case 1 if array.ndim:
            return np.concatenate([array, array[: rng.integers(len(array) + 1)]])
        case 2:
            return array.reshape(-1)
        case 3:
            return array.T
        case 4 if array.ndim > 1:
            return array[..., : rng.integers(array.shape[-1] + 1)]
        case 5:
            return array[None]
        case 6:
            return np.empty((0, 2**40), array.dtype)
    dtype = np.dtype(DTYPES[rng.integers(len(DTYPES))])
    if array.ndim and dtype.itemsize == array.dtype.itemsize:
        return array.view(dtype)
    return np.zeros(array.shape, dtype)


def other_arrays(data, rng):
    """Leave arrays out, add some, call them by each other's names."""
    saved = take_apart(data)
    entries, contents = saved.entries, saved.contents
    if not entries:
        return None
    a, b = rng.integers(len(entries), size=2)
    match rng.integers(5):
        case 0:
            del entries[a], contents[a]
        case 1:
            entries.insert(b, {**entries[a], "name": "surplus"})
            contents.insert(b, contents[a])
        case 2:
            entries[a]["name"], entries[b]["name"] = (
                entries[b]["name"],
                entries[a]["name"],
            )
        case 3:
            entries[a]["name"] = "renamed"
        case 4:
            entries[a], entries[b] = entries[b], entries[a]
            contents[a], contents[b] = contents[b], contents[a]
    return put_together(saved)


DAMAGE = {
    f"damage: {function.__name__.replace('_', ' ')}": function
    for function in (
        flip_one, flip_some, flip_header, flip_manifest, flip_padding, header_field,
        cut, cut_at_page, append_zeros, append_noise, zero_range, noise_range, cut_out,
        cut_out_page, put_in, copy_range, swap_pages, swap_sections,
    )
}  # fmt: skip
FORGERIES = {
    f"forged: {function.__name__.replace('_', ' ')}": function
    for function in (
        edit_manifest, edit_descriptions, swap_offsets, no_manifest, edit_parameters,
        edit_elements, reorder_elements, reshape, other_arrays,
    )
}  # fmt: skip
