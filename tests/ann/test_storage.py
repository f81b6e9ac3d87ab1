"""The container: what goes in comes out, nothing else does, and no crash loses it."""

import errno
import itertools
import json
import mmap
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from ann import storage
from ann.storage import StorageError, layout
from tests.ann.corruptions import (
    DAMAGE,
    FORGERIES,
    corruptions,
    put_together,
    sealed,
    take_apart,
    with_manifest,
)
from tests.ann.process import ROOT, python

FIXTURE = Path(__file__).parent / "fixtures" / "format-1.ann"
MANIFEST = {
    "kind": "HNSW",
    "metric": "cosine",
    "params": {"M": 16, "refine": 2.5, "seed": 2**70, "codec": None, "opq": True},
    "names": ["é", '"quoted\\"', "[{", ""],
}
ARRAYS = {
    "vectors": np.linspace(-1, 1, 120, dtype=np.float32).reshape(20, 6),
    "links": np.arange(80, dtype=np.int32).reshape(20, 4)[::-1] - 1,
    "levels": np.arange(20, dtype=np.uint8),
    "page": np.arange(4096, dtype=np.int64).astype(np.int8),
    "nothing": np.empty((0, 6), np.float32),
    "norms": np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-310]),
    "one": np.array(-(2**63)),
    "bits": np.array([[2**64 - 1, 0]], np.uint64),
    "end": np.empty(0, np.float64),
}
MODES = pytest.mark.parametrize("mapped", [False, True])


def bits(manifest, arrays):
    """Return what two equal indexes have in common, NaN and signs of zero included."""
    described = [
        (name, array.dtype.str, array.shape, array.tobytes())
        for name, array in arrays.items()
    ]
    return json.dumps(manifest), described


SAMPLE = bits(MANIFEST, ARRAYS)


@pytest.fixture
def path(tmp_path):
    storage.write(tmp_path / "index.ann", MANIFEST, ARRAYS)
    return tmp_path / "index.ann"


# --- what goes in comes out -----------------------------------------------------------


@MODES
def test_a_round_trip(path, mapped):
    manifest, arrays = storage.read(path, mmap=mapped)
    assert bits(manifest, arrays) == SAMPLE
    for array in arrays.values():
        assert type(array) is np.ndarray
        assert array.flags.carray
        assert array.dtype.isnative
        if array.size:
            assert array.ctypes.data % (mmap.PAGESIZE if mapped else 64) == 0
    storage.verify_arrays(path)


@MODES
def test_a_file_without_arrays(tmp_path, mapped):
    storage.write(tmp_path / "f", {}, {})
    assert storage.read(tmp_path / "f", mmap=mapped) == ({}, {})
    assert (tmp_path / "f").stat().st_size == 64 + len('{"index": {}, "arrays": []}')


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
NAMES = st.text("abcXYZ019_.-", min_size=1, max_size=64)
NUMPY = arrays_of.arrays(
    st.sampled_from([np.dtype(name) for name in layout.DTYPES]),
    arrays_of.array_shapes(min_dims=0, max_dims=8, min_side=0, max_side=4),
)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.text(), JSON), st.dictionaries(NAMES, NUMPY), st.booleans())
def test_any_index_comes_back_as_it_was(tmp_path_factory, manifest, arrays, mapped):
    path = tmp_path_factory.mktemp("any") / "f"
    storage.write(path, manifest, arrays)
    assert bits(*storage.read(path, mmap=mapped)) == bits(manifest, arrays)
    data = path.read_bytes()
    assert put_together(take_apart(data)) == data
    path.unlink()
    path.parent.rmdir()


def test_many_arrays_of_many_chunks(tmp_path):
    rng = np.random.default_rng(0)
    sizes = [0, 1, 2**20 - 1, 2**20, 2**20 + 1, 5 * 2**20 + 4097, 4095, 4096, 4097]
    arrays = {f"a{i}": rng.integers(0, 256, n, np.uint8) for i, n in enumerate(sizes)}
    arrays |= {f"b{i}": np.full(3, i, np.int32) for i in range(500)}
    storage.write(tmp_path / "f", {"n": 1}, arrays)
    data = (tmp_path / "f").read_bytes()
    assert put_together(take_apart(data)) == data
    for mapped in (False, True):
        found = storage.read(tmp_path / "f", mmap=mapped, verify=True)
        assert bits(*found) == bits({"n": 1}, arrays)


def test_strided_and_big_endian_arrays_are_written_as_their_values(tmp_path):
    values = np.arange(24, dtype=np.int32).reshape(4, 6)
    wide = np.repeat(values, 2, axis=1)[:, ::2]
    arrays = {"f": np.asfortranarray(values), "s": wide, "b": values.astype(">i4")}
    readonly = values.copy()
    readonly.flags.writeable = False
    storage.write(tmp_path / "f", {}, arrays | {"r": readonly})
    for array in storage.read(tmp_path / "f")[1].values():
        np.testing.assert_array_equal(array, values)
        assert array.flags.carray


def test_bytes_are_turned_on_a_machine_of_the_other_order():
    foreign = np.arange(6, dtype=np.float32).astype(">f4").reshape(2, 3)
    native = storage._native(foreign.copy())
    assert native.dtype == np.float32
    assert native.dtype.isnative
    np.testing.assert_array_equal(native, foreign)


def test_the_same_index_gives_the_same_bytes(path, tmp_path):
    storage.write(tmp_path / "again", MANIFEST, ARRAYS)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_a_file_of_format_1_loads_for_ever(path):
    data = FIXTURE.read_bytes()
    digest = "ddbd36057b54b3523d4ee01cc357bdeb19ac2e2700b720603cc81705784e51b7"
    assert sha256(data).hexdigest() == digest
    for mapped in (False, True):
        assert bits(*storage.read(FIXTURE, mmap=mapped)) == SAMPLE
    assert path.read_bytes() == data, "what is written now is another format: number it"


def test_the_reader_in_the_documentation_reads(path):
    text = (ROOT / "docs" / "storage.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code.split("def read")[1].strip().splitlines()) <= 15
    names = {}
    exec(code, names)
    assert bits(*names["read"](path)) == SAMPLE
    data = bytearray(path.read_bytes())
    data[take_apart(data).entries[0]["offset"] + 5] ^= 1
    path.write_bytes(data)
    with pytest.raises(AssertionError):
        names["read"](path)


# --- nothing else does ----------------------------------------------------------------


def outcome(path, data, mapped, verify=None):
    """Read ``data`` as a file; return what came back, or None if it was refused."""
    path.write_bytes(data)
    try:
        return bits(*storage.read(path, mmap=mapped, verify=verify))
    except StorageError as error:
        message = str(error)
        assert message.startswith(f"{path}: ")
        assert "got" in message or "valid JSON" in message
        assert len(message) < len(str(path)) + 400
        return None


@MODES
def test_every_bit_counts(path, mapped):
    data = path.read_bytes()
    (length,) = np.frombuffer(data[16:24], np.uint64)
    text, rest = range(64, 64 + int(length), 3), range(64 + int(length), len(data), 61)
    for place in itertools.chain(range(64), text, rest):
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        assert outcome(path, changed, mapped) is None, place


@MODES
def test_every_length_counts(path, mapped):
    data = path.read_bytes()
    lengths = {*range(0, 3000, 7), *range(0, len(data), 509), len(data) - 1}
    for length in sorted(lengths):
        assert outcome(path, data[:length], mapped) is None
    assert outcome(path, data + b"\0", mapped) is None


def test_random_corruptions_are_refused_or_harmless(path):
    """Damage is refused; forgeries give what the other reader of the format gives.

    ANN_CORRUPTIONS=20000 tries as many.
    """
    data, rng = path.read_bytes(), np.random.default_rng(0)
    count = int(os.environ.get("ANN_CORRUPTIONS", "3000"))
    seen, accepted = set(), set()
    for name, changed in itertools.islice(corruptions(data, rng), count):
        seen.add(name)
        found = outcome(path, changed, mapped=bool(rng.integers(2)))
        if found is None:
            continue
        accepted.add(name)
        assert name in FORGERIES, name
        index, entries, contents = take_apart(changed)
        assert found[0] == json.dumps(index)
        rows = [(e["name"], e["dtype"], tuple(e["shape"])) for e in entries]
        assert found[1] == [(*r, c) for r, c in zip(rows, contents, strict=True)]
    assert seen == {*DAMAGE, *FORGERIES}
    assert len(accepted) >= 4, "forgeries that are whole have to be accepted"


def forged(data, **fields):
    """Return the file with some of the second array's description changed."""
    index, entries, _ = take_apart(data)
    entries[1] |= fields
    manifest = {"index": index, "arrays": entries}
    return with_manifest(data, json.dumps(manifest).encode())


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"name": "vectors"}, "arrays must have different names"),
        ({"name": "a b"}, r"name must be 1 to 64 of A-Z .*, got 'a b'"),
        ({"name": "x" * 65}, "name must be 1 to 64"),
        ({"name": 7}, "name must be .*, got 7"),
        ({"dtype": "|O"}, "dtype of 'links' must be one of .*, got '|O'"),
        ({"dtype": ">i4"}, "dtype of 'links' must be one of"),
        ({"dtype": ["<i4"]}, "dtype of 'links' must be one of"),
        ({"shape": [20, 5]}, "nbytes of 'links' must be 400, got 320"),
        ({"shape": [-20, -4]}, "shape of 'links' must be .* whole numbers"),
        ({"shape": [20, 4.0]}, "whole numbers"),
        ({"shape": [80, True]}, "whole numbers"),
        ({"shape": 80}, "whole numbers"),
        ({"shape": [1] * 7 + [20, 4]}, "at most 8 whole numbers"),
        ({"shape": [2**63, 0]}, "whole numbers"),
        ({"shape": [10**5000]}, "whole numbers|valid JSON"),
        ({"shape": [0, 2**40, 2**40]}, r"product below 2\*\*60"),
        ({"shape": [2**40, 2**19]}, "nbytes of 'links' must be"),
        ({"nbytes": 320.0}, "nbytes of 'links' must be 320, got 320.0"),
        ({"nbytes": 2**64 + 320}, "nbytes of 'links' must be 320"),
        ({"offset": 4096}, "offset of 'links' must be 8192, got 4096"),
        ({"offset": 2**64 + 8192}, "offset of 'links' must be 8192"),
        ({"checksum": "0" * 63}, "checksum of 'links' must be 64 hexadecimal"),
        ({"checksum": None}, "checksum of 'links' must be 64 hexadecimal"),
        ({"checksum": "0" * 64}, "array 'links' must have the checksum 0000"),
        ({"more": 1}, "must be an object with the keys"),
    ],
)
@MODES
def test_a_wrong_description_is_named(path, fields, rule, mapped):
    if fields.get("shape") == [10**5000]:  # Python refuses to write it, too
        data = forged(path.read_bytes(), shape=[123456789])
        (length,) = np.frombuffer(data[16:24], np.uint64)
        text = data[64 : 64 + int(length)].replace(b"123456789", b"9" * 5000)
        data = with_manifest(data, text)
    else:
        data = forged(path.read_bytes(), **fields)
    path.write_bytes(data)
    with pytest.raises(StorageError, match=rule):
        storage.read(path, mmap=mapped)


DEEP = b'{"index": {"a": ' + b"[" * 40 + b"]" * 40 + b'}, "arrays": []}'
BRACKETS = b'{"index": {"' + b"[{" * 400 + b'\\"[": 1}, "arrays": []}'


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b'{"index": {"a": NaN}, "arrays": []}', "must be finite, got NaN"),
        (b'{"index": {"a": -1e999}, "arrays": []}', "must be finite, got -1e999"),
        (b'{"index": {"a": 1, "a": 1}, "arrays": []}', "must differ, got a twin"),
        (b'{"index": {}, "index": {}, "arrays": []}', "must differ, got a twin"),
        (b'{"index": [], "arrays": []}', "an object 'index' and a list 'arrays'"),
        (b'{"index": {}, "arrays": {}}', "an object 'index' and a list 'arrays'"),
        (b'{"index": {}, "arrays": [], "code": ""}', r"with the keys \('index', 'arr"),
        (b'{"index": {}}', r"with the keys \('index', 'arrays'\)"),
        (b'{"index": {}, "arrays": [null]}', "an array's description must be"),
        (b'{"index": {}, "arrays": [],}', "must be valid JSON: "),
        (b'\xef\xbb\xbf{"index": {}, "arrays": []}', "must be valid JSON: "),
        (b'{"index": {"\xff": 1}, "arrays": []}', "must be valid JSON: 'utf-8'"),
        (b'{"index": {"a": ' + b"9" * 5000 + b'}, "arrays": []}', "valid JSON"),
        (b"", "must be valid JSON"),
        (DEEP, "at most 32 levels deep"),
        (b"[" * 200_000, "at most 32 levels deep"),
        (b'{"a":' * 40_000, "at most 32 levels deep"),
        (b" " * 2**18 + b"{}", "manifest of at most 262144 bytes, got 262146"),
    ],
)
def test_a_manifest_is_strict_json_of_known_fields(tmp_path, text, rule):
    path = tmp_path / "f"
    path.write_bytes(sealed(bytes(64) + text, len(text)))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6)  # the parser's own guard is not relied on
    try:
        with pytest.raises(StorageError, match=rule):
            storage.read(path)
    finally:
        sys.setrecursionlimit(limit)


def test_brackets_in_strings_nest_nothing(tmp_path):
    (tmp_path / "f").write_bytes(sealed(bytes(64) + BRACKETS, len(BRACKETS)))
    manifest, _ = storage.read(tmp_path / "f")
    assert manifest == {"[{" * 400 + '"[': 1}


def test_the_first_bytes_are_looked_at_first(path):
    data = path.read_bytes()
    newer = data[:8] + b"\x02" + data[9:16] + b"\xff" * 48
    for changed, rule in [
        (b"", "must be an ann index, which begins with .*, got b''"),
        (b"\x80\x04\x95pickle", "must be an ann index"),
        (data.replace(b"\r\n", b"\n"), "must be an ann index"),
        (data[:20], "must be at least 64 bytes long, got 20"),
        (newer, "must be of format 1, got 2: a newer version of ann wrote it"),
        (data[:8] + bytes(8) + data[16:], "must be of format 1, got 0$"),
        (data[:-1], f"must be {len(data)} bytes long, as its header says, got"),
    ]:
        path.write_bytes(changed)
        with pytest.raises(StorageError, match=rule):
            storage.read(path)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, rule in [
        (tmp_path, "must be a file, got a folder"),
        (tmp_path / "pipe", "must be a regular file, got prw"),
        ("/dev/zero", "must be a regular file, got crw"),
        ("/proc/self/status", "must be an ann index"),
    ]:
        with pytest.raises(StorageError, match=rule):
            storage.read(name)
    with pytest.raises(FileNotFoundError, match="missing"):
        storage.read(tmp_path / "missing")
    for name in (tmp_path, tmp_path / "pipe", "/dev/null"):
        with pytest.raises(StorageError, match="must be a file or not exist, got"):
            storage.write(name, {}, {})


LIMITED = """
import resource, sys, time
from ann import storage
status = open("/proc/self/status").read()
held = int(status.split("VmSize:")[1].split()[0]) * 1024
limit = held + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in open(sys.argv[1]).read().split():
    for mapped in (False, True):
        try:
            storage.read(path, mmap=mapped)
        except storage.StorageError:
            print("refused")
"""


def test_sizes_are_checked_before_they_are_asked_for(path, tmp_path):
    """With 64 MiB left to allocate, claims of much more are refused, not tried."""
    data, names = path.read_bytes(), []
    for i, fields in enumerate(
        [
            {"shape": [2**38, 2**19], "nbytes": 2**59},
            {"shape": [2**28, 1], "nbytes": 2**30},
            {"shape": [2**30], "nbytes": 2**32},
            {"offset": 2**40},
        ]
    ):
        names.append(str(tmp_path / f"{i}"))
        Path(names[-1]).write_bytes(forged(data, **fields))
    (tmp_path / "names").write_text("\n".join(names))
    # Thread stacks count as address space: one for each helper, 8 MiB.
    printed = python(LIMITED, tmp_path / "names", 64 << 20)
    assert printed.split() == ["refused"] * 2 * len(names)


PEAK = """
import re, sys
from ann import storage
kilobytes = lambda kind: int(re.search(kind + r":\\s*(\\d+)", open(status).read())[1])
status = "/proc/self/status"
held = kilobytes("VmRSS")
storage.read(sys.argv[1])
print(1024 * (kilobytes("VmHWM") - held))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells peaks")
def test_no_more_memory_than_the_file(tmp_path):
    path = tmp_path / "f"
    storage.write(path, {}, {"a": np.zeros((4 << 20, 4), np.float32), "b": np.ones(9)})
    size = path.stat().st_size
    assert 0.9 * size < int(python(PEAK, path)) < 1.25 * size


@MODES
def test_little_memory_for_what_only_looks_large(path, mapped):
    """A manifest of many empty lists is the worst that may be accepted."""
    bomb = b'{"index": {"a": [' + b"[]," * 87_000 + b"[]" + b']}, "arrays": []}'
    path.write_bytes(sealed(bytes(64) + bomb, len(bomb)))
    tracemalloc.start()
    manifest, _ = storage.read(path, mmap=mapped)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(manifest["a"]) == 87_001
    assert peak < 27 * len(bomb)


# --- mapped ---------------------------------------------------------------------------


def mapping(path):
    """Return kilobytes of this process's mapping of a file, by kind."""
    blocks = re.split(
        r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text()
    )
    (block,) = [block for block in blocks if str(path) in block]
    return {k: int(v) for k, v in re.findall(r"(\w+): +(\d+) kB", block)}


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux shows pages")
def test_pages_are_the_files_until_they_are_written_to(tmp_path):
    path = tmp_path / "f"
    storage.write(path, {}, {"a": np.ones(4 << 20, np.uint8)})
    before = path.read_bytes()
    _, arrays = storage.read(path, mmap=True)
    assert mapping(path)["Rss"] < 1024, "opening reads no array"
    assert arrays["a"].sum() == 4 << 20
    pages = mapping(path)
    assert pages["Rss"] >= 4096
    assert pages["Anonymous"] == 0
    arrays["a"][5] = 2
    assert mapping(path)["Anonymous"] == mmap.PAGESIZE // 1024
    assert storage.read(path, mmap=True)[1]["a"][5] == 1
    assert path.read_bytes() == before


def test_mapped_arrays_outlive_the_file_that_is_replaced(path):
    _, arrays = storage.read(path, mmap=True)
    other = {"vectors": np.zeros((20, 6), np.float32)}
    storage.write(path, {"other": 1}, other)
    assert bits(MANIFEST, arrays) == SAMPLE
    assert bits(*storage.read(path, mmap=True)) == bits({"other": 1}, other)
    path.unlink()
    assert bits(MANIFEST, arrays) == SAMPLE


def test_large_mapped_arrays_are_verified_on_request(tmp_path):
    path = tmp_path / "f"
    sizes = {"large": storage.SMALL + 1, "small": storage.SMALL}
    storage.write(path, {}, {k: np.zeros(n, np.uint8) for k, n in sizes.items()})
    data = path.read_bytes()
    for entry in take_apart(data).entries:
        changed = bytearray(data)
        changed[entry["offset"] + 12345] ^= 4
        large = entry["name"] == "large"
        for options, refused in [
            ({}, True),
            ({"mmap": True}, not large),
            ({"mmap": True, "verify": True}, True),
            ({"mmap": True, "verify": False}, False),
            ({"verify": False}, False),
        ]:
            path.write_bytes(changed)
            if refused:
                with pytest.raises(StorageError, match=f"array '{entry['name']}' must"):
                    storage.read(path, **options)
            else:
                assert storage.read(path, **options)[1][entry["name"]][12345] == 4
        with pytest.raises(StorageError, match=f"array '{entry['name']}' must"):
            storage.verify_arrays(path)


def test_a_file_cut_short_while_it_is_read_is_refused(path, monkeypatch):
    """As the description was right when it was looked at."""
    data = path.read_bytes()
    for read in (
        storage.read,
        lambda path: storage.read(path, verify=False),
        lambda path: storage.read(path, mmap=True),
        storage.verify_arrays,
    ):
        path.write_bytes(data)
        gaps = layout.gaps

        def cut(*args, gaps=gaps):
            yield from gaps(*args)
            os.truncate(path, 4100)

        monkeypatch.setattr(layout, "gaps", cut)
        with pytest.raises(StorageError, match=r"cut short|damaged"):
            read(path)
        monkeypatch.undo()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count otherwise")
def test_a_file_larger_than_the_memory_can_be_mapped(tmp_path):
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    small = {"a": np.zeros(0, np.uint8), "z": np.arange(3, dtype=np.int32)}
    storage.write(tmp_path / "f", {}, small)
    data = (tmp_path / "f").read_bytes()
    index, entries, contents = take_apart(data)
    size = 4 * memory
    entries[0] |= {"shape": [size], "nbytes": size}
    entries[1]["offset"] = 4096 + size
    text = json.dumps({"index": index, "arrays": entries}).encode()
    head = data[:16] + np.array([len(text), 4096 + size + 12], "<u8").tobytes()
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.write(head + sha256(head + text).digest() + text)
        try:
            file.truncate(4096 + size)
        except OSError:
            pytest.skip("the file system has no file of this length")
        file.seek(4096 + size)
        file.write(contents[1])
    _, arrays = storage.read(path, mmap=True)
    assert arrays["a"].nbytes == size
    assert arrays["a"][size // 2] == 0
    np.testing.assert_array_equal(arrays["z"], [0, 1, 2])


# --- no crash loses it ----------------------------------------------------------------


def leftovers(folder):
    return [name for name in os.listdir(folder) if name.endswith(".tmp")]


OLD = {"a": np.arange(5000, dtype=np.int32)}
NEW = {"a": np.arange(9000, dtype=np.int32), "b": np.ones(3)}


@pytest.fixture
def old(tmp_path):
    storage.write(tmp_path / "f", {"is": "old"}, OLD)
    return tmp_path / "f"


def is_old(path):
    return bits(*storage.read(path)) == bits({"is": "old"}, OLD)


def test_calls_are_made_in_the_order_that_a_power_cut_needs(old, monkeypatch):
    calls = []
    for name in ("pwrite", "fsync", "replace", "open"):
        call = getattr(os, name)

        def spy(*args, _name=name, _call=call, **options):
            calls.append(_name)
            return _call(*args, **options)

        monkeypatch.setattr(os, name, spy)
    storage.write(old, {"is": "new"}, NEW)
    monkeypatch.undo()
    tail = calls[-4:]
    assert tail == ["fsync", "replace", "open", "fsync"], "open: the folder"
    assert calls.count("pwrite") == 3
    assert bits(*storage.read(old)) == bits({"is": "new"}, NEW)


@pytest.mark.parametrize("call", ["pwrite", "fsync", "replace", "fchmod"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_a_failure_leaves_the_old_file_and_nothing_else(old, monkeypatch, call, number):
    def fails(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fails)
    rule = f"{os.strerror(number)} .nothing was saved, a file that was there is unch.*f"
    with pytest.raises(OSError, match=rule) as caught:
        storage.write(old, {"is": "new"}, NEW)
    monkeypatch.undo()
    assert (caught.value.errno, caught.value.filename) == (number, str(old))
    assert is_old(old)
    assert leftovers(old.parent) == []


@pytest.mark.parametrize("call", ["pwrite", "fsync", "replace"])
def test_ctrl_c_leaves_the_old_file_and_nothing_else(old, monkeypatch, call):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, call, interrupted)
    with pytest.raises(KeyboardInterrupt):
        storage.write(old, {"is": "new"}, NEW)
    monkeypatch.undo()
    assert is_old(old)
    assert leftovers(old.parent) == []


def test_short_writes_are_gone_on_with(old, monkeypatch):
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda f, data, at: pwrite(f, data[:777], at))
    storage.write(old, {"is": "new"}, NEW)
    monkeypatch.undo()
    assert bits(*storage.read(old)) == bits({"is": "new"}, NEW)


def test_short_reads_are_gone_on_with(old, monkeypatch):
    preadv = os.preadv
    monkeypatch.setattr(
        os, "preadv", lambda f, views, at: preadv(f, [views[0][:777]], at)
    )
    assert is_old(old)


def test_a_folder_that_fails_to_sync_is_told_apart(old, monkeypatch):
    fsync, failing = os.fsync, [errno.EIO]

    def fails_on_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(failing[0], os.strerror(failing[0]))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fails_on_folders)
    with pytest.raises(OSError, match="saved, but a power cut may yet"):
        storage.write(old, {"is": "new"}, NEW)
    failing[0] = errno.EINVAL  # what file systems answer that have no such thing
    storage.write(old, {"is": "newer"}, NEW)
    monkeypatch.undo()
    assert storage.read(old)[0] == {"is": "newer"}


FULL = """
import resource, sys
import numpy as np
from ann import storage
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    storage.write(sys.argv[1], {}, {"a": np.ones(10**6, np.uint8)})
except OSError as error:
    print(type(error).__name__, error)
"""


def test_a_file_that_may_not_grow(old):
    printed = python(FULL, old)
    assert printed.startswith("OSError [Errno 27] File too large (nothing was saved")
    assert str(old) in printed
    assert is_old(old)
    assert leftovers(old.parent) == []


READ_ONLY = """
import os, sys
from ann import storage
if os.getuid() == 0:
    os.setuid(65534)
try:
    storage.write(sys.argv[1], {}, {})
except OSError as error:
    print(type(error).__name__, error)
"""


def test_a_read_only_folder():
    # Where anybody may pass through: pytest's folders are the user's own.
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "f"
        storage.write(path, {"is": "old"}, OLD)
        folder.chmod(0o555)
        try:
            printed = python(READ_ONLY, path)
        finally:
            folder.chmod(0o755)
        assert printed.startswith("PermissionError [Errno 13] Permission denied (noth")
        assert str(path) in printed
        assert is_old(path)


def test_a_folder_that_takes_no_files_of_anybody():
    with pytest.raises(OSError, match=r"nothing was saved.*'/proc/index.ann'"):
        storage.write("/proc/index.ann", {}, {})


def test_a_missing_folder_is_named(tmp_path):
    path = tmp_path / "missing" / "f"
    with pytest.raises(FileNotFoundError, match=f"nothing was saved.*{path}"):
        storage.write(path, {}, {})


@pytest.mark.parametrize(
    ("manifest", "arrays", "rule"),
    [
        ({"a": (1, 2)}, {}, "a manifest must hold .*, got {'a': "),
        ({1: 2}, {}, "a manifest must hold"),
        ([], {}, "an object 'index'"),
        ({"a": np.int64(1)}, {}, "a manifest must be valid JSON: .*int64"),
        ({"a": float("nan")}, {}, "a manifest must be valid JSON"),
        ({"a": "x" * 2**18}, {}, "a manifest must be at most 262144 bytes, got"),
        ({"a": json.loads("[" * 40 + "]" * 40)}, {}, "at most 32 levels deep"),
        ({}, {"a": np.zeros(2, np.int16)}, "dtype of 'a' must be .*, got '<i2'"),
        ({}, {"a": np.array([None])}, "dtype of 'a' must be one of .*, got '|O'"),
        ({}, {"a": np.zeros((1,) * 9)}, "shape of 'a' must be at most 8"),
        ({}, {"a/b": np.zeros(2)}, "name must be 1 to 64 of"),
    ],
)
def test_what_cannot_be_read_is_not_written(old, manifest, arrays, rule):
    with pytest.raises(StorageError, match=rule):
        storage.write(old, manifest, arrays)
    assert is_old(old)
    assert leftovers(old.parent) == []


# --- the name of a file ---------------------------------------------------------------


def test_permissions_are_the_umasks_or_those_of_the_old_file(tmp_path):
    before = os.umask(0o027)
    try:
        storage.write(tmp_path / "f", {}, {})
        assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640
        (tmp_path / "f").chmod(0o604)
        storage.write(tmp_path / "f", {}, {})
        assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o604
    finally:
        os.umask(before)


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "inside").mkdir()
    link = tmp_path / "link"
    link.symlink_to("inside/f")
    for text in ("new", "newer"):  # at first it leads to nothing
        storage.write(link, {"is": text}, {})
        assert link.is_symlink()
        assert storage.read(tmp_path / "inside" / "f")[0] == {"is": text}
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    with pytest.raises(OSError, match="nothing was saved"):
        storage.write(loop, {}, {})
    assert loop.is_symlink()


def test_paths_of_all_kinds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("relative", "f" * 255, "é[*].(ann", Path("path"), ".hidden", "a b"):
        storage.write(name, {"name": str(name)}, {})
        storage.write(name, {"name": str(name)}, {})
        assert storage.read(name)[0] == {"name": str(name)}
    assert leftovers(tmp_path) == []
    assert len(os.listdir(tmp_path)) == 6


# --- killed ---------------------------------------------------------------------------

SAVER = """
import os, signal, sys
import numpy as np
from ann import storage, parallel
parallel.available = lambda: 1

path, stop_at = sys.argv[1], int(sys.argv[2])
calls = 0
def killing(call):
    def counted(*args, **options):
        global calls
        calls += 1
        if calls == stop_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **options)
    return counted

CALLS = "open stat listdir lstat fchmod pwrite fsync replace"
for name in CALLS.split():
    setattr(os, name, killing(getattr(os, name)))
arrays = {"a": np.arange(9000, dtype=np.int32), "b": np.ones(3)}
storage.write(path, {"is": "new"}, arrays)
print("done")
"""


def test_a_kill_at_every_step_leaves_the_old_file_or_the_new_one(old):
    seen = []
    for step in itertools.count(1):
        storage.write(old, {"is": "old"}, OLD)
        assert leftovers(old.parent) == []
        done = python(SAVER, old, step, check=False)
        if done.stdout:
            break
        assert done.returncode == -signal.SIGKILL
        seen.append((storage.read(old)[0]["is"], len(leftovers(old.parent))))
        assert is_old(old) or bits(*storage.read(old)) == bits({"is": "new"}, NEW)
    assert ("old", 1) in seen
    assert seen[-1] == ("new", 0)
    assert len(seen) >= 8


KILLS = """
import json, os, random, signal, sys
import numpy as np
from ann import storage, parallel
parallel.available = lambda: 1

path, kills, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random.seed(seed)
full = [np.full(300_000, i, np.int32) for i in range(2)]
pwrite = os.pwrite
os.pwrite = lambda file, data, at: pwrite(file, data[:65_536], at)  # often half done

def save(which):
    storage.write(path, {"is": which}, {"a": full[which], "b": full[which][:9]})

def follow(at_line):
    # Call at_line with the number of each line of Python that is about to run.
    count = 0
    def trace(frame, event, argument):
        nonlocal count
        count += event == "line"
        at_line(count)
        return trace
    sys.settrace(trace)

def save_until_killed(first, last_line):
    follow(lambda n: n >= last_line and os.kill(os.getpid(), signal.SIGKILL))
    for i in range(first, first + 1000):
        save(i % 2)

save(0)
lines = []
follow(lines.append)
save(1)
sys.settrace(None)
seen, left = [0, 0], 0
for turn in range(kills):
    last_line = random.randrange(5 * lines[-1])
    child = os.fork()
    if child == 0:
        save_until_killed(turn, last_line)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    manifest, arrays = storage.read(path, mmap=bool(random.getrandbits(1)), verify=True)
    which = manifest["is"]
    assert (arrays["a"] == which).all() and arrays["a"].size == 300_000, which
    assert (arrays["b"] == which).all() and arrays["b"].size == 9, which
    seen[which] += 1
    left += any(name.endswith(".tmp") for name in os.listdir(os.path.dirname(path)))
storage.write(path, {"is": 2}, {})
print(json.dumps([seen, left]))
"""


def test_kills_at_random_lines(tmp_path):
    """ANN_KILLS=300 kills as often."""
    kills = int(os.environ.get("ANN_KILLS", "20"))
    path = tmp_path / "f"
    seen, left = json.loads(python(KILLS, path, kills, 0))
    assert sum(seen) == kills
    assert min(seen) > 0, "kills came too early or too late to tell"
    assert left > kills / 4, "kills did not hit what they were meant for"
    assert os.listdir(tmp_path) == ["f"]
    assert storage.read(path) == ({"is": 2}, {})


# --- temporary files of others --------------------------------------------------------

HOLDER = """
import sys
from ann.storage.replacing import replacing
with replacing(sys.argv[1]) as file:
    print(file.name, flush=True)
    sys.stdin.readline()
    raise SystemExit
"""


def test_a_temporary_file_in_use_is_left_alone(old):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(old)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        name = Path(holder.stdout.readline().strip())
        assert name.parent == old.parent
        storage.write(old, {"is": "new"}, NEW)
        assert leftovers(old.parent) == [name.name]
        holder.kill()
        holder.wait()
        assert leftovers(old.parent) == [name.name]
        storage.write(old, {"is": "newer"}, NEW)
    assert leftovers(old.parent) == []


def test_only_own_temporary_files_are_removed(old):
    folder = old.parent
    others = [
        "f.0123456789abcdef.tmp",
        ".f.0123456789abcdef",
        ".f.0123456789abcde.tmp",
        ".ff.0123456789abcdef.tmp",
        ".f.ann.0123456789abcdef.tmp",
        ".f.0123456789ABCDEF.tmp",
    ]
    for name in others:
        (folder / name).write_text("not ours")
    (folder / ".f.00000000000000aa.tmp").write_text("a killed save's")
    (folder / ".f.00000000000000aa.tmp").chmod(0o444)
    (folder / ".f.00000000000000ab.tmp").mkdir()
    (folder / ".f.00000000000000ac.tmp").symlink_to(folder / others[0])
    os.mkfifo(folder / ".f.00000000000000ad.tmp")
    storage.write(old, {"is": "new"}, NEW)
    kept = {*others, "f", *(f".f.00000000000000{x}.tmp" for x in ("ab", "ac"))}
    assert kept <= set(os.listdir(folder))
    assert ".f.00000000000000aa.tmp" not in os.listdir(folder)
    assert (folder / others[0]).read_text() == "not ours"


def test_many_at_once_save_to_one_path(tmp_path):
    """The last one wins; none sees another's half, none removes another's file."""
    path = tmp_path / "f"
    storage.write(path, {"is": -1}, {"a": np.full(9000, -1)})
    failures = []

    def save(which):
        try:
            for _ in range(10):
                storage.write(path, {"is": which}, {"a": np.full(9000, which)})
                manifest, arrays = storage.read(path)
                if not (arrays["a"] == manifest["is"]).all():
                    failures.append(manifest)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=save, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert os.listdir(tmp_path) == ["f"]
