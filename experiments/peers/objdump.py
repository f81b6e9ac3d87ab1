"""The vector registers that a peer's machine code uses, counted by ``objdump``.

``python -m experiments.peers.objdump`` prints the counts of every installed peer, from
which the table in :mod:`experiments.peers.levels` is made, once for each version.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

#: The widest registers of a vector level, the best level first.
REGISTERS = {"avx512": "zmm", "avx2": "ymm", "sse2": "xmm"}
_REGISTER = re.compile(r"%([xyz]mm)\d")


def count(assembly: Iterable[str]) -> Counter[str]:
    """Count the lines of AT&T assembly by the widest vector register in them."""
    found = (max(_REGISTER.findall(line), default="") for line in assembly)
    return Counter(filter(None, found))


def widest(counts: Counter[str]) -> str | None:
    """Return the level whose registers are used, the best of several."""
    used = (level for level, name in REGISTERS.items() if counts[name])
    return next(used, None)


def binaries(package: str) -> Iterator[Path]:
    """Yield a package's shared objects, but not the libraries bundled with them."""
    for file in importlib.metadata.files(package) or ():
        if ".so" in file.suffixes and not file.parts[0].endswith(".libs"):
            yield Path(str(file.locate()))


def best_level(package: str) -> str | None:
    """Return the best level in the machine code of an installed package.

    None where there is no vector instruction, or no ``objdump`` to look for one.
    """
    return widest(registers(package)) if shutil.which("objdump") else None


def registers(package: str) -> Counter[str]:
    """Count the instructions of an installed package by their vector registers."""
    counts = Counter[str]()
    for path in binaries(package):
        command = ["objdump", "--disassemble", "--no-show-raw-insn", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as dump:
            counts += count(dump.stdout or ())
    return counts


def main() -> None:
    """Print what is known of every installed peer."""
    from experiments.peers import ADAPTERS

    if shutil.which("objdump") is None:
        raise SystemExit("objdump is missing: it comes with the GNU binutils")
    for package in sorted({each.package or each.library for each in ADAPTERS}):
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            print(f"{package}: not installed")
            continue
        counts = registers(package)
        numbers = ", ".join(f"{name} {counts[name]:,}" for name in REGISTERS.values())
        print(f"{package} {version}: {widest(counts) or 'no machine code'} ({numbers})")


if __name__ == "__main__":
    main()
