import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from ann.monitor import Ledger, Settings
from experiments import watching
from experiments.cli import app


@pytest.fixture
def state(tmp_path):
    """What a monitor wrote that saw queries of norm 1, then of norm 60."""
    ledger, rng = Ledger(Settings("ip", baseline=0.9)), np.random.default_rng(0)
    for norm in (1.0, 60.0):
        scores = norm * rng.normal(0.8, 0.05, 1500)
        ledger.follow(np.full(1500, norm), scores)
    for recall in np.linspace(0.8, 1, 200):
        ledger.judge(recall, 0.0, ledger.queries)
    path = tmp_path / "watch.json"
    ledger.save(path)
    return path


def test_a_monitors_file_is_shown(state):
    done = CliRunner().invoke(app, ["monitor", str(state), "--once"])
    assert done.exit_code == 0
    told = " ".join(done.stdout.split())
    assert "alert: norms" in told
    assert "recall@10 0.900 (95 % interval" in told
    assert "baseline 0.900" in told
    assert "3,000 queries, 200 checked" in told
    assert "query norms must stay within 5%" in told
    assert "top-1 inner product" in told


def test_what_is_no_monitors_file_is_refused(tmp_path):
    for path, told in ((tmp_path / "no.json", "No such file"), (tmp_path, "directory")):
        done = CliRunner().invoke(app, ["monitor", str(path), "--once"])
        assert done.exit_code == 2
        assert told in done.output
    other = tmp_path / "other.json"
    other.write_text("{}")
    done = CliRunner().invoke(app, ["monitor", str(other), "--once"])
    assert done.exit_code == 2
    assert "must be what a monitor saved" in " ".join(done.output.split())


def test_the_view_goes_on_until_it_is_interrupted(state, monkeypatch):
    rounds = []

    def sleep(seconds):
        rounds.append(seconds)
        if len(rounds) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(watching.time, "sleep", sleep)
    watching.watch(state, Console(record=True, force_terminal=False), once=False)
    assert rounds == [watching.REFRESH_S] * 3


def test_a_line_of_bars():
    assert watching.spark((0.0, 0.5, 1.0)) == "▁▅█"
