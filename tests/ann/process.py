"""Fresh interpreters."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def python(script, *arguments, folder=ROOT, check=True, timeout=3600, **environment):
    """Run a script that imports from ``folder`` first; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.strip() if check else done
