"""Downloads against a real server that behaves well, and against one that does not."""

import hashlib
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import h5py
import numpy as np
import pytest
from rich.progress import Progress

from experiments import datasets
from experiments.datasets import registry
from experiments.datasets.download import download, verify

CONTENT = np.random.default_rng(0).bytes(3_000_000)
CHUNK = 1 << 16
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """What is served and how; what was asked for."""

    content: bytes = CONTENT
    etag: str | None = '"one"'
    ranges: bool = True  # honours Range
    conditions: bool = True  # honours If-Range
    length: bool = True  # sends Content-Length
    shift: int = 0  # answers from so many bytes before those asked for
    cuts: list[int] = field(default_factory=list)  # bytes sent by each coming reply
    statuses: list[int] = field(default_factory=list)  # of each coming reply
    requests: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    @property
    def asked(self):
        return [headers.get("Range") for headers in self.requests]


def handler(server):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            server.requests.append(dict(self.headers))
            status = server.statuses.pop(0) if server.statuses else 200
            if status != 200:
                return self.send_error(status)
            start = self.start()
            if start is not None and start >= len(server.content):
                return self.send_error(416)
            body = server.content[start or 0 :]
            self.send_response(200 if start is None else 206)
            if start is not None:
                end, total = len(server.content) - 1, len(server.content)
                self.send_header("Content-Range", f"bytes {start}-{end}/{total}")
            if server.length:
                self.send_header("Content-Length", str(len(body)))
            if server.etag:
                self.send_header("ETag", server.etag)
            self.end_headers()
            self.wfile.write(body[: server.cuts.pop(0) if server.cuts else None])
            return None

        def start(self):
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            same = self.headers.get("If-Range") == server.etag
            if not wanted or not server.ranges or (server.conditions and not same):
                return None
            return int(wanted[1]) - server.shift

    return Handler


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    state = Server()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler(state))
    state.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "set.hdf5"


def fetch(server, path, **options):
    download(f"{server.url}/set.hdf5", path, pause_s=0, **options)


def names(path):
    return sorted(p.name for p in path.parent.iterdir() if p.suffix != ".lock")


def test_whole_download(server, path):
    progress = Progress(disable=True)
    fetch(server, path, sha256=SHA256, size=len(CONTENT), progress=progress)
    assert path.read_bytes() == CONTENT
    assert names(path) == ["set.hdf5", "set.hdf5.sha256"]
    assert server.requests[0]["User-Agent"].startswith("ann/")
    assert server.requests[0]["Accept-Encoding"] == "identity"
    assert progress.tasks[0].completed == progress.tasks[0].total == len(CONTENT)


def test_the_recorded_hash_is_in_the_format_of_sha256sum(server, path):
    fetch(server, path)
    recorded = (path.parent / "set.hdf5.sha256").read_text()
    assert recorded == f"{SHA256}  set.hdf5\n"


def test_interrupted_then_resumed_in_one_call(server, path):
    server.cuts = [15 * CHUNK, 4 * CHUNK]
    fetch(server, path, sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={15 * CHUNK}-", f"bytes={19 * CHUNK}-"]
    assert server.requests[1]["If-Range"] == '"one"'


def test_interrupted_then_resumed_by_another_call(server, path):
    server.cuts = [15 * CHUNK, 0, 0]
    with pytest.raises(OSError, match="gave up after 2 attempts without progress"):
        fetch(server, path, attempts=2)
    assert not path.exists()
    assert (path.parent / "set.hdf5.part").stat().st_size == 15 * CHUNK
    server.requests.clear()
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert server.asked == [f"bytes={15 * CHUNK}-"]
    assert names(path) == ["set.hdf5", "set.hdf5.sha256"]


def test_a_server_that_ignores_range_sends_all_again(server, path):
    server.ranges, server.cuts = False, [15 * CHUNK]
    fetch(server, path, sha256=SHA256)
    assert server.asked == [None, f"bytes={15 * CHUNK}-"]


def test_a_server_that_answers_another_range_is_asked_for_all(server, path):
    server.shift, server.cuts = 7, [15 * CHUNK]
    fetch(server, path, sha256=SHA256)
    assert server.asked == [None, f"bytes={15 * CHUNK}-", None]


def test_a_server_that_ignores_range_and_always_breaks_ends(server, path):
    server.ranges, server.cuts = False, [15 * CHUNK] * 9
    with pytest.raises(OSError, match="gave up after 3 attempts"):
        fetch(server, path, attempts=3)
    assert len(server.requests) == 4


@pytest.mark.parametrize("conditions", [True, False])
def test_a_changed_etag_restarts(server, path, conditions):
    server.conditions, server.cuts = conditions, [15 * CHUNK, 0]
    with pytest.raises(OSError, match="gave up"):
        fetch(server, path, attempts=1)
    server.content, server.etag = CONTENT[::-1], '"two"'
    fetch(server, path)
    assert path.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_what_cannot_be_identified_is_not_resumed(server, path, etag):
    server.etag, server.cuts = etag, [15 * CHUNK]
    fetch(server, path, sha256=SHA256)
    assert server.asked == [None, None]


def test_a_part_of_another_address_is_not_continued(server, path):
    server.cuts = [15 * CHUNK, 0]
    with pytest.raises(OSError, match="gave up"):
        fetch(server, path, attempts=1)
    server.content = CONTENT[::-1]
    download(f"{server.url}/elsewhere.hdf5", path, pause_s=0)
    assert path.read_bytes() == CONTENT[::-1]


def test_a_part_that_is_complete_only_gets_its_name(server, path):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(server, path, check=stop)
    assert not path.exists()
    fetch(server, path, sha256=SHA256)
    assert len(server.requests) == 1


@pytest.mark.parametrize("damage", ["longer", "note"])
def test_a_part_that_makes_no_sense_restarts(server, path, damage):
    server.cuts = [15 * CHUNK, 0]
    with pytest.raises(OSError, match="gave up"):
        fetch(server, path, attempts=1)
    part = path.parent / "set.hdf5.part"
    if damage == "longer":
        part.write_bytes(CONTENT + b"more")
    else:
        (path.parent / "set.hdf5.part.json").write_text("{")
    fetch(server, path, sha256=SHA256)
    assert path.read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(server, path):
    with pytest.raises(ValueError, match=f"sha256 must be {'0' * 64}, got {SHA256}"):
        fetch(server, path, sha256="0" * 64)
    assert names(path) == []


def test_a_wrong_size_is_refused_before_the_transfer(server, path):
    with pytest.raises(ValueError, match="size must be 7 bytes, got 3000000"):
        fetch(server, path, size=7)
    assert names(path) == []


def test_a_refused_structure_leaves_nothing(server, path):
    def refuse(part):
        assert part.read_bytes() == CONTENT
        raise ValueError("not this one")

    with pytest.raises(ValueError, match="not this one"):
        fetch(server, path, check=refuse)
    assert names(path) == []


def test_a_truncated_transfer_without_length_is_found_by_size(server, path):
    server.length, server.cuts = False, [15 * CHUNK]
    fetch(server, path, size=len(CONTENT))
    assert path.read_bytes() == CONTENT


def test_no_length_at_all(server, path):
    server.length = False
    fetch(server, path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_is_final(server, path, status):
    server.statuses = [status]
    with pytest.raises(OSError, match=f"set.hdf5: must answer 200, got {status} "):
        fetch(server, path)
    assert len(server.requests) == 1
    assert names(path) == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_trouble_that_passes(server, path, status):
    server.statuses = [status, status]
    fetch(server, path, sha256=SHA256)
    assert len(server.requests) == 3


def test_trouble_that_stays(server, path):
    server.statuses = [503] * 9
    with pytest.raises(OSError, match=r"gave up after 3 .*: HTTP status 503"):
        fetch(server, path, attempts=3)
    assert len(server.requests) == 3


def test_nobody_there(path):
    with pytest.raises(OSError, match="gave up after 1 attempts"):
        download("http://127.0.0.1:1/set.hdf5", path, attempts=1, pause_s=0)


def test_many_at_once_download_once(server, path):
    threads = [
        threading.Thread(target=fetch, args=(server, path), kwargs={"sha256": SHA256})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_verify_trusts_the_first_use(path):
    path.write_bytes(b"one")
    verify(path)
    verify(path)
    path.write_bytes(b"two")
    with pytest.raises(ValueError, match=r"sha256 must be 7692c3ad.*delete the file"):
        verify(path)
    with pytest.raises(ValueError, match=f"sha256 must be {SHA256}"):
        verify(path, SHA256)


# --- the registry


def public_set(n=300, nq=20, d=25, metric="angular", zeros=0):
    rng = np.random.default_rng(0)
    train, test = (rng.standard_normal((rows, d)).astype("f4") for rows in (n, nq))
    train[:zeros] = 0
    unit = [
        x / np.maximum(np.linalg.norm(x, axis=1)[:, None], 1e-9) for x in (test, train)
    ]
    distances = 1 - unit[0] @ unit[1].T
    ids = np.argsort(distances, axis=1)[:, :100]
    with h5py.File("set.hdf5", "w", driver="core", backing_store=False) as file:
        file.attrs["distance"] = metric
        for name, array in (
            ("train", train),
            ("test", test),
            ("neighbors", ids.astype("i4")),
            ("distances", np.take_along_axis(distances, ids, axis=1)),
        ):
            file[name] = array
        file.flush()
        return file.id.get_file_image()


@pytest.fixture
def mirror(server, monkeypatch):
    monkeypatch.setenv(registry.MIRROR, f"{server.url}/mirror/")
    small = registry.Remote("glove-25-angular", 300, 20, 25, "cosine")
    monkeypatch.setitem(registry.SETS, small.name, small)
    return server


def test_a_public_set_by_name(mirror, tmp_path):
    mirror.content = public_set()
    found = datasets.load("glove-25-angular", cache=tmp_path)
    assert (found.metric, found.train.shape) == ("cosine", (300, 25))
    assert found.neighbors.shape == (20, 100)
    assert found.source == f"{mirror.url}/mirror/glove-25-angular.hdf5"
    again = datasets.load("glove-25-angular", cache=tmp_path)
    assert again.fingerprint == found.fingerprint
    assert len(mirror.requests) == 1


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"n": 299}, r"train must have shape \(300, 25\), got \(299, 25\)"),
        ({"nq": 19}, r"test must have shape \(20, 25\), got \(19, 25\)"),
        ({"d": 24}, r"train must have shape \(300, 25\), got \(300, 24\)"),
    ],
)
def test_a_public_set_of_another_shape_is_refused(mirror, tmp_path, shape, message):
    mirror.content = public_set(**shape)
    with pytest.raises(ValueError, match=message):
        datasets.load("glove-25-angular", cache=tmp_path)
    assert not list(tmp_path.rglob("*.hdf5*[!k]"))


def test_a_page_of_text_is_no_public_set(mirror, tmp_path):
    mirror.content = b"<html>Sign in to the wireless network</html>"
    with pytest.raises(ValueError, match="must be a readable HDF5 file"):
        datasets.load("glove-25-angular", cache=tmp_path)
    assert not (tmp_path / "downloads" / "glove-25-angular.hdf5").exists()


def test_a_public_set_of_another_metric_is_refused(mirror, tmp_path):
    mirror.content = public_set(metric="euclidean")
    with pytest.raises(ValueError, match="metric must be 'cosine', got 'l2'"):
        datasets.load("glove-25-angular", cache=tmp_path)


def test_a_public_set_that_changed_on_disk_is_refused(mirror, tmp_path):
    mirror.content = public_set()
    datasets.load("glove-25-angular", cache=tmp_path)
    path = tmp_path / "downloads" / "glove-25-angular.hdf5"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=r"sha256 must be .* delete the file"):
        datasets.load("glove-25-angular", cache=tmp_path)


def test_zero_vectors_of_a_public_set_are_dropped_and_said(mirror, tmp_path):
    mirror.content = public_set(zeros=3)
    found = datasets.load("glove-25-angular", cache=tmp_path)
    assert len(found.train) == 297
    assert found.neighbors.max() < 297
    assert found.source.endswith("3 + 0 zero vectors dropped")


def test_every_registered_name_states_its_width_and_metric():
    words = {"l2": "euclidean", "cosine": "(angular|cosine|normalized|dot)", "ip": "ip"}
    for name, remote in registry.SETS.items():
        assert name == remote.name
        assert re.search(rf"-{words[remote.metric]}$", name)
        stated = re.search(r"-(\d+)-\w+$", name)
        if stated and name != "lastfm-64-dot":
            assert int(stated[1]) == remote.d
        assert remote.sha256 is None or re.fullmatch("[0-9a-f]{64}", remote.sha256)
        if remote.size and remote.n and remote.nq:
            rows = (remote.n + remote.nq) * remote.d + remote.nq * 200
            assert 0 < remote.size - 4 * rows < 10_000  # the layout, uncompressed
        assert remote.url.startswith("https://")
