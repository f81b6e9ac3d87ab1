import importlib.metadata
import platform

import fakes
import numpy as np
import pytest

from experiments.peers import levels, objdump
from experiments.plots.curves import libraries
from experiments.plots.rows import read_run
from experiments.results import write_rows
from tests.experiments import test_report

HOST = {"sse2", "avx2", "avx512f"}


class Packaged(fakes.Brute):
    package = "rabitqlib"


class Reporting(Packaged):
    def vector_level(self):
        return "neon"


class Wheel:
    """An installed distribution with nothing but its tags."""

    def __init__(self, tag):
        self.tag = tag

    def read_text(self, name):
        assert name == "WHEEL"
        return f"Tag: cp311-cp311-{self.tag}\n"


@pytest.fixture(name="level")
def _level(monkeypatch):
    def level(tag, version="0.7.1", features=HOST, dumped=None, machine="x86_64"):
        monkeypatch.setattr(platform, "machine", lambda: machine)
        monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
        monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Wheel(tag))
        monkeypatch.setattr(levels, "host_features", lambda: features)
        monkeypatch.setattr(objdump, "best_level", lambda package: dumped)
        return levels.vector_level(Packaged("l2", Packaged.Build(), 0))

    return level


def test_what_a_library_reports_comes_first():
    index = Reporting("l2", Reporting.Build(), 0)
    assert levels.vector_level(index) == "neon"


@pytest.mark.parametrize(
    ("features", "expected"),
    [(HOST, "avx512"), (HOST - {"avx512f"}, "avx2"), ({"sse2"}, "sse2")],
)
def test_a_published_wheel_runs_the_best_that_the_host_has(level, features, expected):
    assert level("manylinux_2_28_x86_64", features=features) == expected


def test_a_version_that_is_not_in_the_table_is_looked_into(level):
    assert level("manylinux_2_28_x86_64", version="0.8.5", dumped="avx2") == "avx2"


def test_what_was_compiled_here_is_looked_into(level):
    assert level("linux_x86_64", dumped="avx2") == "avx2"
    assert level("linux_x86_64", dumped="avx512", features={"sse2"}) == "sse2"


def test_without_report_table_and_objdump_the_level_is_unknown(level):
    assert level("linux_x86_64") == "unknown"
    assert level("manylinux_2_28_aarch64", machine="aarch64") == "unknown"
    assert levels.vector_level(fakes.Elsewhere("l2", fakes.Brute.Build(), 0)) == (
        "unknown"
    )


def test_the_version_is_that_of_the_package():
    class OfNumpy(fakes.Brute):
        package = "numpy"

    assert levels.version(OfNumpy) == np.__version__
    assert levels.version(fakes.Elsewhere) == "unknown"


def test_a_line_of_assembly_counts_for_its_widest_register():
    counts = objdump.count(
        [
            "  1f: vpaddd %zmm1,%zmm0,%zmm2",
            "  25: vextracti64x4 $0x1,%zmm2,%ymm3",
            "  2c: vmovups (%rdi),%ymm0",
            "  30: ret",
        ]
    )
    assert counts == {"zmm": 2, "ymm": 1}
    assert objdump.widest(counts) == "avx512"
    assert objdump.widest(objdump.count(["addps %xmm1,%xmm0"])) == "sse2"
    assert objdump.widest(objdump.count(["ret"])) is None


def test_bundled_libraries_are_not_the_package_s(monkeypatch):
    names = ["a/_a.cpython-311.so", "a/__init__.py", "a.libs/libgomp.so.1", "liba.so"]
    files = [importlib.metadata.PackagePath(name) for name in names]
    for file in files:
        file.dist = importlib.metadata.distribution("numpy")
    monkeypatch.setattr(importlib.metadata, "files", lambda package: files)
    assert [path.name for path in objdump.binaries("a")] == [
        "_a.cpython-311.so",
        "liba.so",
    ]


def test_captions_name_versions_and_levels(tmp_path):
    def row(library, ef, **columns):
        return test_report.point(
            f"{library} {ef}", "HNSW", ef, 0.9, 20.0, library=library, **columns
        )

    rows = [
        row("ann", 10, version="0.1.0", vector_level="avx512"),
        row("faiss", 10, version="1.15.1", vector_level="avx512_spr"),
        row("faiss", 20, version="1.15.1", vector_level="sse2"),
        row("dummy", 10, version="unknown", vector_level="unknown"),
        row("svs", 10),  # of before there were these columns
    ]
    write_rows(tmp_path / "rows.csv", rows)
    assert libraries(read_run(tmp_path).points) == [
        "ann 0.1.0 (avx512)",
        "faiss 1.15.1 (avx512_spr, sse2)",
    ]
