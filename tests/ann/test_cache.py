"""Fresh processes: kernels come from the disk, but never stale; levels agree."""

import json
import shutil

import numpy as np

from tests.ann.process import ROOT, python

FLAT = """
import json
import ann

index = ann.Flat("l2").add([[0.0, 0.0], [3.0, 4.0], [5.0, 0.0]])
ids, distances = index.search([0.0, 0.0], k=3)
print(json.dumps([ids.tolist(), distances.tolist()]))
"""


def test_a_kernel_edited_in_another_file_is_not_served_stale(tmp_path):
    """``Flat`` runs a kernel of scan.py; what is edited lies in simd.py and pool.py."""
    shutil.copytree(ROOT / "ann", tmp_path / "ann")
    kernels = tmp_path / "ann" / "kernels"
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def search():
        return json.loads(python(FLAT, folder=tmp_path, **environment))

    assert search() == [[0, 1, 2], [0, 5, 5]]
    compiled = set((tmp_path / "cache").rglob("*.nbc"))
    assert compiled
    assert search() == [[0, 1, 2], [0, 5, 5]]
    assert set((tmp_path / "cache").rglob("*.nbc")) == compiled

    with (kernels / "simd.py").open("a") as file:
        file.write("\n\nl2sq = scan_l2sq = l1\n")
    ids, distances = search()
    assert ids == [0, 2, 1]
    np.testing.assert_allclose(distances, [0, 5**0.5, 7**0.5])

    with (kernels / "pool.py").open("a") as file:
        file.write("\n\nINFINITY = np.float32(-1)\n")  # no key is below that
    assert search()[0] == [-1, -1, -1]


EVERYTHING = """
import gc, json
import numpy as np
import ann
from numba.core.dispatcher import Dispatcher

def loaded_and_compiled():
    kernels = [o for o in gc.get_objects() if isinstance(o, Dispatcher)]
    return [
        sum(sum(getattr(k.stats, kind).values()) for k in kernels)
        for kind in ("cache_hits", "cache_misses")
    ]

X = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)
flat = ann.Flat().add(X)
flat.search(X[0])
at_first = loaded_and_compiled()

flat.search(X)
for index in [
    ann.IVF("cosine", nlist=5, codec=ann.PQ(m=4, nbits=4), refine=2),
    ann.HNSW("l2", codec=ann.SQ(), M=4, ef_construction=20),
]:
    index.add(X[:200]).add(X[200:])
    index.search(X[0])
    index.search(X)
print(json.dumps([at_first, loaded_and_compiled()]))
"""


def test_a_second_process_compiles_nothing_and_loads_little_for_a_search():
    python(EVERYTHING)
    at_first, at_last = json.loads(python(EVERYTHING))
    assert at_first[0] <= 8  # of some milliseconds each
    assert at_last[0] > 5
    assert at_last[1] == 0


def test_an_unknown_level_is_refused():
    done = python(FLAT, ANN_SIMD="bogus", check=False)
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("ValueError: ANN_SIMD must be one of [")
    assert "'portable'] on this host, got 'bogus'" in message
